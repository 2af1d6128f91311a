"""PostgreSQL, from initdb to a clean end, with clients on other hosts; the same twice."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import pytest

from tests.system.experiment import Configuration, Laboratory, Programs, environment, experiment, host, process, shell

CREATE = """
create table stock (item int primary key, amount int not null check (amount >= 0));
insert into stock select item, 100 from generate_series(1, 50) item;
select count(*), sum(amount) from stock;
"""
TAKE = """
do $$ begin
    for item_wanted in 1..50 loop
        update stock set amount = amount - 1 where item = item_wanted;
        perform pg_sleep(0.001);
    end loop;
end $$;
"""
COUNT = "select min(amount), max(amount), count(*), now() from stock"


def server_programs() -> Path:
    """Where initdb and postgres are; Debian keeps them off the search path."""
    places = [*sorted(Path("/usr/lib/postgresql").glob("*/bin"), reverse=True)]
    found = shutil.which("postgres", path=environment()["PATH"])
    if found is not None:
        places.append(Path(found).resolve().parent)
    for place in places:
        if all(os.access(place / name, os.X_OK) for name in ("initdb", "postgres", "pgbench")):
            return place
    pytest.skip("postgresql is not installed (tests/install-programs.sh)")


def database(memory: str, psql: str) -> Configuration:
    """A server, three clients that take from the same rows, and one that counts at the end."""
    programs = server_programs()
    start = (
        f"set -e; {programs}/initdb -D data -A trust --locale=C.UTF-8 -E UTF8 --no-instructions;"
        "echo 'host all all 0.0.0.0/0 trust' >> data/pg_hba.conf;"
        f"exec {programs}/postgres -D data -c listen_addresses=0.0.0.0 -c unix_socket_directories=$PWD"
        f" -c shared_memory_type={memory} -c dynamic_shared_memory_type={'sysv' if memory == 'sysv' else 'posix'}"
    )
    to_server = ("-X", "-q", "-h", "server", "-U", "postgres", "-v", "ON_ERROR_STOP=1")
    taker = process(psql, *to_server, "-c", TAKE, start_time="6 s", user="nobody")
    return experiment(
        {
            "server": host(
                shell(start, user="postgres", shutdown_time="30 s", shutdown_signal="SIGINT"),
                process(psql, "-X", "-h", "/srv/server", "-U", "postgres", "-c", COUNT, start_time="20 s"),
            ),
            "maker": host(process(psql, *to_server, "-c", CREATE, start_time="5 s")),
            "left": host(taker, taker),
            "right": host(taker),
            "bench": host(
                shell(
                    f"{programs}/pgbench -h server -U postgres -i -s 1 -q postgres &&"
                    f"{programs}/pgbench -h server -U postgres -c 3 -t 5 -n postgres",
                    start_time="8 s",
                )
            ),
        },
        experimental={"strace_logging_mode": "deterministic"},
        pcap=True,
    )


@pytest.mark.parametrize("memory", ["mmap", "sysv"])
def test_postgresql_serves_clients_on_other_hosts_the_same_twice(
    laboratory: Laboratory, program: Programs, memory: str
) -> None:
    configuration = database(memory, program("psql"))
    first, second = (laboratory.run(configuration, name=name) for name in ("first", "second"))
    assert first.stdout("maker").split()[-5:-2] == ["50", "|", "5000"]
    assert first.stdout("server", "psql").splitlines()[2].split()[:5] == ["97", "|", "97", "|", "50"]
    assert "number of transactions actually processed: 15/15" in first.stdout("bench")
    assert "database system is shut down" in first.stderr("server", "bash")
    assert first.files == second.files


def test_postgresql_looks_at_its_user_and_at_the_owner_and_mode_of_its_directory(laboratory: Laboratory) -> None:
    programs = server_programs()
    make, serve = f"{programs}/initdb -D data -A trust > /dev/null", f"{programs}/postgres -D data"
    hosts = {
        "root": host(shell(f"{make}; {serve}; true")),
        "lax": host(shell(f"{make}; chmod 755 data; {serve}; true", user="postgres")),
        "stolen": host(
            shell(f"{make}; chown nobody data; true", user="postgres"),
            shell("chown -R nobody data", start_time="10 s"),
            shell(f"{serve}; true", start_time="20 s", user="postgres"),
        ),
    }
    run = laboratory.run(experiment(hosts))
    assert "cannot be run as root" in run.stderr("root")
    assert "has invalid permissions" in run.stderr("lax")
    told = "".join(path.read_text() for path in sorted(run.directory.glob("hosts/stolen/bash.*.stderr")))
    assert "Operation not permitted" in told
    assert "has wrong ownership" in told
