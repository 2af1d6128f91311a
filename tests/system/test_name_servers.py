"""Name servers of others: one that is authoritative, one that asks it recursively, and who asks both."""

from __future__ import annotations

import re

from tests.system.experiment import Laboratory, Programs, experiment, host, network, process, shell

RUNNING = {"expected_final_state": "running"}

_UNBOUND = """
server:
    interface: 0.0.0.0
    interface: ::0
    do-daemonize: no
    use-syslog: no
    logfile: ""
    username: ""
    chroot: ""
    directory: "."
    pidfile: ""
    access-control: 0.0.0.0/0 allow
    access-control: ::0/0 allow
    num-threads: 2
    so-reuseport: yes
    module-config: "iterator"
    do-not-query-localhost: no
    cache-min-ttl: 0
    local-zone: "test." transparent
stub-zone:
    name: "test."
    stub-addr: 11.7.0.1
forward-zone:
    name: "."
    forward-addr: 11.7.0.1
"""


def test_dnsmasq_and_unbound_answer_dig(laboratory: Laboratory, program: Programs) -> None:
    unbound, dig = program("unbound"), program("dig")
    texts = ",".join(str(digit) * 200 for digit in range(9))
    authority = process(
        program("dnsmasq"),
        *("-k", "-u", "root", "--log-queries", "--log-facility=-", "--no-resolv", "--no-hosts", "--pid-file="),
        *("--auth-server=ns.test,eth0", "--auth-zone=test", "--auth-ttl=5", f"--txt-record=long.test,{texts}"),
        *("--host-record=www.test,192.0.2.1,2001:db8::1", "--cname=alias.test,www.test", "--mx-host=test,mail.test,10"),
        "--srv-host=_web._tcp.test,www.test,8080",
        **RUNNING,
    )
    questions = "; ".join(
        (
            f"short='{dig} @resolver +short'; dig='{dig} @resolver'; time='grep -o [0-9]*.msec'",
            "$short www.test A; $short www.test AAAA; $short alias.test; $short test MX; $short _web._tcp.test SRV",
            "$dig no.test | grep -o 'status: [A-Z]*'; $short long.test TXT | wc -c",
            # Asks again over TCP, unless it is told not to.
            "$dig +bufsize=512 long.test TXT | grep -oE 'Truncated|[(](TCP|UDP)'",
            "$dig +ignore +bufsize=512 long.test TXT | grep -oE 'flags: qr tc|[(](TCP|UDP)'",
            "$short -6 www.test; sleep 6; $dig +tcp www.test | $time; $dig +tcp www.test | $time",
        )
    )
    resolver = f"echo '{_UNBOUND}' > u.conf; exec {unbound} -d -c u.conf"
    run = laboratory.run_twice(
        experiment(
            {
                "authority": host(authority, ip_addr="11.7.0.1"),
                "resolver": host(shell(resolver, start_time="1 s", **RUNNING), ip_addr="11.7.0.2"),
                "client": host(shell(questions, start_time="4 s"), node=1),
            },
            network=network(latency="15 ms"),
        )
    )
    assert run.stdout("client").splitlines() == [
        "192.0.2.1",
        "2001:db8::1",
        *("www.test.", "192.0.2.1"),
        "10 mail.test.",
        "0 0 8080 www.test.",
        "status: NXDOMAIN",
        str(9 * len('"200 digits" ') - 9 * len("200 digits") + 9 * 200),
        *("Truncated", "(TCP"),
        *("flags: qr tc", "(UDP"),
        "192.0.2.1",
        # The answer lived for five seconds: one round trip to who knows, then none.
        *("60 msec", "30 msec"),
    ]
    asked = re.findall(r"auth\[A\] www.test from (.*)", run.stderr("authority"))
    assert asked == ["11.7.0.2"] * 2
