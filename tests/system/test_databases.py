"""Databases that processes of one host, or of several, work on at the same time."""

from __future__ import annotations

import pytest

from tests.system.experiment import Laboratory, Programs, experiment, host, network, python, shell

_WRITER = """
import random, sqlite3, sys, time
me, mode = sys.argv[1:]
random.seed(me)
database = sqlite3.connect("bank.db", timeout=20, isolation_level=None)
database.execute(f"PRAGMA journal_mode = {mode}")

waited = 0
for number in range(25):
    start = time.monotonic()
    database.execute("BEGIN IMMEDIATE")
    waited += time.monotonic() - start > 0.001
    (balance,) = database.execute("SELECT balance FROM accounts WHERE id = 1").fetchone()
    time.sleep(random.uniform(0, 0.02))
    database.execute("UPDATE accounts SET balance = ? WHERE id = 1", (balance + 1,))
    database.execute("INSERT INTO log VALUES (?, ?)", (me, number))
    database.execute("ROLLBACK" if number % 5 == 4 else "COMMIT")
print("done", waited > 0)
"""
_BEGIN = """
import sqlite3, sys
database = sqlite3.connect("bank.db")
database.execute(f"PRAGMA journal_mode = {sys.argv[1]}")
database.executescript("CREATE TABLE accounts (id INTEGER PRIMARY KEY, balance); CREATE TABLE log (who, number);"
                       "INSERT INTO accounts VALUES (1, 0)")
"""
_END = """
import sqlite3
database = sqlite3.connect("bank.db")
print(database.execute("SELECT balance FROM accounts").fetchone()[0], file=open("balance", "w"))
print(database.execute("SELECT who, count(*) FROM log GROUP BY who ORDER BY who").fetchall(), file=open("log", "w"))
print(database.execute("PRAGMA integrity_check").fetchone()[0], file=open("integrity", "w"))
database.execute("BEGIN EXCLUSIVE")
other = sqlite3.connect("bank.db", timeout=0)
try:
    other.execute("BEGIN EXCLUSIVE")
except sqlite3.OperationalError as error:
    print(error, file=open("refusal", "w"))
"""


@pytest.mark.parametrize("mode", ["DELETE", "WAL"])
def test_processes_share_an_sqlite_database_by_its_locks(laboratory: Laboratory, mode: str) -> None:
    writers = [python(_WRITER, name, mode, start_time="1 s") for name in "abcd"]
    run = laboratory.run_twice(
        experiment({"alone": host(python(_BEGIN, mode), *writers, python(_END, start_time="50 s"))})
    )
    content = {name: run.path("alone", name).read_text() for name in ("balance", "log", "integrity", "refusal")}
    assert content == {
        "balance": "80\n",  # every fifth of a hundred was taken back
        "log": "[('a', 20), ('b', 20), ('c', 20), ('d', 20)]\n",
        "integrity": "ok\n",
        "refusal": "database is locked\n",
    }
    outputs = [path.read_text() for path in (run.directory / "hosts" / "alone").glob("*.stdout")]
    # Who has the lock may have it again at once; the others have to wait for it.
    assert sorted(set(outputs)) == ["", "done False\n", "done True\n"]
    assert outputs.count("") == 2


_SCHEMA = """
CREATE DATABASE bank; USE bank;
CREATE TABLE accounts (id INT PRIMARY KEY, balance INT) ENGINE=InnoDB;
INSERT INTO accounts VALUES (1, 1000), (2, 1000);
CREATE TABLE log (id INT AUTO_INCREMENT PRIMARY KEY, who VARCHAR(9), what VARCHAR(40));
DELIMITER //
CREATE PROCEDURE move(who VARCHAR(9), source INT, target INT)
BEGIN
    DECLARE EXIT HANDLER FOR 1213 BEGIN ROLLBACK; INSERT INTO log (who, what) VALUES (who, "deadlock"); END;
    START TRANSACTION;
    UPDATE accounts SET balance = balance - 10 WHERE id = source;
    DO SLEEP(0.05);
    UPDATE accounts SET balance = balance + 10 WHERE id = target;
    INSERT INTO log (who, what) VALUES (who, CONCAT(source, " to ", target));
    COMMIT;
END //
"""


def test_mariadb_finds_deadlocks_and_follows_another(laboratory: Laboratory, program: Programs) -> None:
    install, server, client = (program(name) for name in ("mariadb-install-db", "mariadbd", "mariadb"))
    running = {"expected_final_state": "running"}

    def database(number: int, *more: str) -> str:
        statements = "\n".join(("GRANT ALL ON *.* TO 'user'@'%' IDENTIFIED BY 'secret';", *more))
        return (
            f"{install} --user=root --datadir=$PWD/data --auth-root-authentication-method=normal --skip-test-db > log;"
            f'echo "{statements}" > init.sql; exec {server} --no-defaults --user=root --datadir=$PWD/data'
            f" --socket=$PWD/sock --init-file=$PWD/init.sql --bind-address=:: --server-id={number} --log-bin=binlog"
        )

    follow = ("CHANGE MASTER TO MASTER_HOST='first', MASTER_USER='user', MASTER_PASSWORD='secret';", "START SLAVE;")
    ask = f"{client} --no-defaults --skip-ssl -uuser -psecret"
    moves = {
        who: f"yes \"CALL move('{who}', {way});\" | head -5 | {ask} -h first bank"
        for who, way in (("ann", "1, 2"), ("bob", "2, 1"))
    }
    told = "SELECT SUM(balance), GROUP_CONCAT(balance) FROM accounts; SELECT who, what, COUNT(*) FROM log GROUP BY 1, 2"
    run = laboratory.run_twice(
        experiment(
            {
                "first": host(shell(database(1), start_time="1 s", **running)),
                "second": host(shell(database(2, *follow), start_time="5 s", **running), node=1),
                "ann": host(shell(moves["ann"], start_time="12 s")),
                "bob": host(shell(moves["bob"], start_time="12 s"), node=1),
                "maker": host(shell(f"{ask} -h first <<'end'\n{_SCHEMA}\nend\n", start_time="10 s")),
                "reader": host(
                    shell(f"for on in first second; do {ask} -N -h $on bank -e '{told}'; done", start_time="30 s")
                ),
            },
            network=network(latency="5 ms"),
        )
    )
    lines = run.stdout("reader").splitlines()
    assert lines[: len(lines) // 2] == lines[len(lines) // 2 :]
    assert lines[0].startswith("2000\t")
    assert sum(int(line.split("\t")[-1]) for line in lines[1 : len(lines) // 2]) == 10
    assert "deadlock" in run.stdout("reader")
