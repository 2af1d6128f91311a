"""Processes run as the users that the configuration names, and hosts know these users."""

from __future__ import annotations

from hot.users import User, group_file, parse_user, passwd_file, resolve_users
from tests.system.experiment import Laboratory, experiment, host, shell

WHO = "id; getent passwd $(id -u); getent group $(id -g); touch made; stat -c %U:%G made . /etc/passwd; echo ~"


def test_processes_run_as_the_users_of_the_configuration(laboratory: Laboratory) -> None:
    hosts = {
        "default": host(shell(WHO)),
        "known": host(shell(WHO, user="www-data")),
        "named": host(shell(WHO, user="postgres"), shell("id -un", user="etcd")),
        "numbers": host(shell(WHO, user="1000:50")),
    }
    run = laboratory.run_twice(experiment(hosts))
    said = {name: run.path(name, "bash.1000.stdout").read_text().splitlines() for name in hosts}
    assert said["default"] == [
        "uid=0(root) gid=0(root) groups=0(root)",
        "root:x:0:0:root:/root:/bin/bash",
        "root:x:0:",
        *["root:root"] * 3,
        "/root",
    ]
    assert said["known"] == [
        "uid=33(www-data) gid=33(www-data) groups=33(www-data)",
        "www-data:x:33:33:www-data:/var/www:/usr/sbin/nologin",
        "www-data:x:33:",
        *["www-data:www-data"] * 2,
        "root:root",
        "/var/www",
    ]
    assert said["named"] == [
        "uid=102(postgres) gid=102(postgres) groups=102(postgres)",
        "postgres:x:102:102:postgres:/srv/named:/bin/sh",
        "postgres:x:102:",
        *["postgres:postgres"] * 2,
        "root:root",
        "/srv/named",
    ]
    assert said["numbers"] == [
        "uid=1000(user1000) gid=50(staff) groups=50(staff)",
        "user1000:x:1000:50:user1000:/srv/numbers:/bin/sh",
        "staff:x:50:",
        *["user1000:staff"] * 2,
        "root:root",
        "/srv/numbers",
    ]


def test_a_host_may_have_accounts_that_no_process_starts_as(laboratory: Laboratory) -> None:
    machine = host(shell("getent passwd sshd 1000; setpriv --reuid sshd --clear-groups id -u"))
    run = laboratory.run(experiment({"server": {**machine, "users": ["sshd", "1000:50"]}}))
    assert run.path("server", "bash.1000.stdout").read_text().splitlines() == [
        "sshd:x:101:101:sshd:/srv/server:/bin/sh",
        "user1000:x:1000:50:user1000:/srv/server:/bin/sh",
        "101",
    ]


def test_numbers_of_users_depend_on_the_names_of_one_host_alone() -> None:
    choices = [parse_user(text) for text in ("zoe", "1000", "amy", "nobody", "101", "zoe", "7:0")]
    assert resolve_users(choices) == [
        User(103, 103, "zoe"),
        User(1000, 1000, "user1000"),
        User(102, 102, "amy"),
        User(65534, 65534, "nobody"),
        User(101, 101, "user101"),
        User(103, 103, "zoe"),
        User(7, 0, "user7"),
    ]
    users = resolve_users(choices)
    assert [line.split(":")[0] for line in passwd_file(users).splitlines()][-5:] == [
        *("user101", "amy", "zoe", "user1000", "nobody")
    ]
    assert "amy:x:102:\n" in group_file(users)
    assert group_file(users).count(":x:0:") == 1
