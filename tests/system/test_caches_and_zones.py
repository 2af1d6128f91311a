"""Servers of others that repeat what another server has said: a proxy that caches, and a name server's secondary."""

from __future__ import annotations

import subprocess

from tests.system.experiment import Laboratory, Programs, experiment, host, shell

RUNNING = {"expected_final_state": "running"}

_LIGHTTPD = """
server.document-root = env.PWD
server.bind = "[::]"
server.port = 80
server.set-v6only = "disable"
server.max-worker = 2
server.modules = ("mod_cgi", "mod_expire", "mod_accesslog")
cgi.assign = (".sh" => "/bin/bash")
expire.url = ("/kept.txt" => "access plus 10 seconds")
accesslog.filename = env.PWD + "/access.log"
accesslog.format = "%m %U%q %s"
mimetype.assign = (".txt" => "text/plain")
"""

_SQUID = """
http_port 3128
http_access allow all
cache_mem 16 MB
maximum_object_size_in_memory 4 MB
access_log none
cache_log /dev/null
cache_store_log none
pid_filename none
netdb_filename none
pinger_enable off
coredump_dir none
visible_hostname proxy
"""


def test_squid_keeps_what_lighttpd_lets_it_keep(laboratory: Laboratory, program: Programs) -> None:
    lighttpd, squid, curl = program("lighttpd"), program("squid"), program("curl")
    page = 'printf "Content-Type: text/plain\\n\\n"; echo "$REQUEST_METHOD $QUERY_STRING $(date +%s.%N)"; cat'
    files = f"seq 1 100000 > kept.txt; echo '{page}' > page.sh; echo '{_LIGHTTPD}' > l.conf"
    origin = f"{files}; exec {lighttpd} -D -f l.conf"
    proxy = f"echo '{_SQUID}' > s.conf; exec {squid} -N -f $PWD/s.conf"
    reader = "; ".join(
        (
            f"get='{curl} -sS -x proxy:3128 -D head'; is='grep -oE X-Cache:.[A-Z]+ head'",
            # From the origin, from the cache, and from the origin when it may be kept no longer.
            "for pause in 0 2 11; do sleep $pause; $get http://web/kept.txt | cksum; $is; done",
            "$get -r 100-119 http://web/kept.txt | tr '\\n' ' '; $is",
            "for n in 1 2; do $get http://web/page.sh?$n | cut -d. -f1; $is; done",
            "$get --data-binary @/etc/hostname http://web/page.sh | cut -d. -f1",
            "$get -o /dev/null -w '%{http_code}\\n' http://web/none",
            "$get -o /dev/null -w '%{http_code}\\n' http://nobody.invalid/",
            "for n in 1 2 3 4 5 6 7 8; do $get http://web/page.sh?$n > at$n & done; wait",
            "cut -d' ' -f2 at? | tr '\\n' ' '",
        )
    )
    run = laboratory.run_twice(
        experiment(
            {
                "web": host(shell(origin, **RUNNING)),
                "proxy": host(shell(proxy, start_time="1 s", **RUNNING)),
                "reader": host(shell(reader, start_time="5 s")),
            },
            stop_time="60 s",
        )
    )
    lines = "".join(f"{number}\n" for number in range(1, 100_001))
    kept = subprocess.run(["cksum"], input=lines, capture_output=True, text=True, check=True).stdout.strip()
    assert run.stdout("reader").splitlines() == [
        *(kept, "X-Cache: MISS", kept, "X-Cache: HIT", kept, "X-Cache: HIT"),
        "7 38 39 40 41 42 43 X-Cache: HIT",
        *("GET 1 946684818", "X-Cache: MISS", "GET 2 946684818", "X-Cache: MISS"),
        *("POST  946684818", "reader", "404", "502"),
        "1 2 3 4 5 6 7 8 ",
    ]
    asked = (run.directory / "hosts" / "web" / "access.log").read_text().splitlines()
    # It was asked a second time when the page had expired, and the page was the same.
    assert asked[:2] == ["GET /kept.txt 200", "GET /kept.txt 304"]
    assert asked[2:6] == ["GET /page.sh1 200", "GET /page.sh2 200", "POST /page.sh 200", "GET /none 404"]
    assert sorted(asked[6:]) == [f"GET /page.sh{number} 200" for number in range(1, 9)]


_KNOT = """
server:
    rundir: "."
    listen: 0.0.0.0@53
    udp-workers: 2
    tcp-workers: 2
    background-workers: 2
log:
  - target: stdout
    any: info
database:
    storage: "db"
remote:
  - id: other
    address: {other}@53
acl:
  - id: those
    address: [11.8.0.0/24]
    action: [transfer, notify, update]
zone:
  - domain: test
    storage: "."
    file: test.zone
    acl: those
    {role}: other
    zonefile-load: {load}
"""

_ZONE = """
$ORIGIN test.
$TTL 60
@ SOA ns.test. admin.test. 1 5 2 60 30
@ NS ns.test.
ns A 11.8.0.1
www A 192.0.2.1
*.wild TXT "anything"
"""


def test_a_secondary_of_knot_follows_the_updates_of_its_primary(laboratory: Laboratory, program: Programs) -> None:
    knotd, dig, nsupdate = program("knotd"), program("dig"), program("nsupdate")
    addresses = {"primary": "11.8.0.1", "secondary": "11.8.0.2"}
    start = "mkdir db; echo '{knot}' > k.conf; {zone} exec {knotd} -c k.conf"
    change = "server primary\\nzone test\\nupdate delete www.test. A\\nupdate add www.test. 9 A 192.0.2.7\\nsend\\n"
    questions = "; ".join(
        (
            f"ask='{dig} @secondary +short'; $ask test SOA; $ask www.test A; $ask a.b.wild.test TXT",
            f"printf '{change}' | {nsupdate}",
            "sleep 2; $ask test SOA; $ask www.test A",
            f"{dig} @secondary none.test | grep -o 'status: [A-Z]*'",
            f"{dig} @secondary test AXFR | grep -c '^[a-z*]'",
            f"{dig} @primary test IXFR=1 | grep -c SOA",
        )
    )
    hosts = {
        name: host(
            shell(
                start.format(
                    knot=_KNOT.format(
                        other=addresses["secondary" if name == "primary" else "primary"],
                        role="notify" if name == "primary" else "master",
                        load="whole" if name == "primary" else "none",
                    ),
                    zone=f"echo '{_ZONE}' > test.zone;" if name == "primary" else "",
                    knotd=knotd,
                ),
                **RUNNING,
            ),
            ip_addr=address,
        )
        for name, address in addresses.items()
    }
    hosts["client"] = host(shell(questions, start_time="5 s"), ip_addr="11.8.0.3")
    run = laboratory.run_twice(experiment(hosts, stop_time="60 s"))
    assert run.stdout("client").splitlines() == [
        *("ns.test. admin.test. 1 5 2 60 30", "192.0.2.1", '"anything"'),
        *("ns.test. admin.test. 2 5 2 60 30", "192.0.2.7"),
        *("status: NXDOMAIN", "6", "4"),
    ]
    # The whole zone at first, then what has changed, as soon as the primary says that something has.
    heard = [line.partition(" info: [test.] ")[2] for line in run.stdout("secondary").splitlines()]
    for transfer in ("AXFR", "IXFR"):
        assert sum(line.startswith(f"{transfer}, incoming, remote 11.8.0.1@53, finished") for line in heard) == 1
    assert sum(line.endswith("remote serial 2, zone is up-to-date, expires in 60 seconds") for line in heard) == 10
