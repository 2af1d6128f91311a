"""Databases that processes of one host, or of several, work on at the same time."""

from __future__ import annotations

import pytest

from tests.system.experiment import Laboratory, experiment, host, python

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
