"""The web as it is used: TLS, HTTP/2, connections that are kept, certificates, between programs nobody here wrote."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from tests.system.experiment import Laboratory, Programs, Run, experiment, host, network, process, shell

_NGINX = """
daemon off; worker_processes 2; error_log stderr; pid nginx.pid;
events {}
http {
    access_log access.log; keepalive_timeout 30;
    server { listen 80; root web; }
    server { listen 443 ssl http2; root web; ssl_certificate web/certificate.pem; ssl_certificate_key key.pem; }
}
"""

_PAGES = 5


def _server(nginx: str, openssl: str) -> str:
    """Make a key and a certificate, and pages, then serve: all in virtual time, so the certificate begins in 2000."""
    request = f"{openssl} req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 30"
    return "; ".join(
        (
            "set -e; mkdir -p logs web",
            f"{request} -subj /CN=web -addext subjectAltName=DNS:web -keyout key.pem -out web/certificate.pem",
            f"for i in $(seq {_PAGES}); do head -c $((20000 * i)) /dev/zero | tr '\\0' $i > web/$i; done",
            f"echo '{_NGINX}' > n.conf; exec {nginx} -p . -c $PWD/n.conf",
        )
    )


def test_clients_speak_tls_and_http2_to_nginx(laboratory: Laboratory, program: Programs) -> None:
    program("curl")
    pages = " ".join(f"https://web/{page}" for page in range(1, _PAGES + 1))
    fetch_certificate = "curl -sS -o ca.pem http://web/certificate.pem"
    report = "-w '%{http_version} %{response_code} %{size_download} %{num_connects}\\n'"
    outputs = " ".join(f"-o {page}" for page in range(1, _PAGES + 1))

    def client(command: str) -> dict[str, Any]:
        return host(shell(f"{fetch_certificate}; {command}", start_time="5 s"))

    curl = f"curl -sS --cacert ca.pem {report} {outputs} {pages}"
    configuration = experiment(
        {
            "web": host(shell(_server(program("nginx"), program("openssl")), expected_final_state="running")),
            "one": client(f"{curl} --http1.1"),
            "two": client(f"{curl} --http2 -Z"),
            "wget": client(f"{program('wget')} -q --ca-certificate ca.pem {pages}"),
            "stranger": client("curl -sS https://web/1 || echo refused with $?"),
        },
        network=network(latency="20 ms"),
        pcap=True,
    )
    first, second = (laboratory.run(configuration, name=name) for name in ("first", "second"))
    sizes = [20_000 * page for page in range(1, _PAGES + 1)]
    # One connection carries all pages: HTTP/1.1 keeps it, HTTP/2 shares it.
    assert first.stdout("one").split("\n")[:-1] == [f"1.1 200 {size} {int(not n)}" for n, size in enumerate(sizes)]
    shared = [line.split() for line in first.stdout("two").splitlines()]
    assert {tuple(line[:2]) for line in shared} == {("2", "200")}
    assert sorted(int(line[2]) for line in shared) == sizes
    for reader in ("one", "two", "wget"):
        assert [_page(first, reader, page) for page in range(1, _PAGES + 1)] == [
            str(page).encode() * size for page, size in enumerate(sizes, 1)
        ]
    assert first.stdout("stranger") == "refused with 60\n"
    assert first.files == second.files


def _page(run: Run, reader: str, page: int) -> bytes:
    return (run.directory / "hosts" / reader / str(page)).read_bytes()


_CLUSTER = """
const cluster = require("cluster"), http = require("http");
if (cluster.isPrimary) {
    console.log("primary forks");
    for (let i = 0; i < 3; i++) cluster.fork();
    cluster.on("exit", (worker, code) => console.log(`worker ${worker.id} ended with ${code}`));
    let ended = 0;
    cluster.on("exit", () => { if (++ended === 3) process.exit(0); });
} else {
    http.createServer((request, response) => {
        response.setHeader("Connection", "close");
        response.end(`${cluster.worker.id}\\n`);
        if (request.url === "/end") setTimeout(() => process.exit(cluster.worker.id), 100);
    }).listen(8080);
}
"""


def test_a_cluster_of_node_processes_shares_a_socket(laboratory: Laboratory, program: Programs, tmp_path: Path) -> None:
    program("curl")
    script = tmp_path / "cluster.js"
    script.write_text(_CLUSTER)
    ask = "for i in 1 2 3 4 5 6; do curl -sS http://server:8080/; done"
    stop = "for i in 1 2 3; do curl -sS http://server:8080/end; sleep 1; done"
    configuration = experiment(
        {
            "server": host(process(program("node"), str(script))),
            "client": host(shell(f"{ask} | sort | uniq -c | awk '{{print $1, $2}}'; {stop}", start_time="10 s")),
        }
    )
    first, second = (laboratory.run(configuration, name=name) for name in ("first", "second"))
    *shares, one, two, three = first.stdout("client").splitlines()
    # The primary hands connections out in turn.
    assert shares == ["2 1", "2 2", "2 3"]
    assert sorted((one, two, three)) == ["1", "2", "3"]
    lines = first.stdout("server").splitlines()
    assert lines[0] == "primary forks"
    assert sorted(lines[1:]) == [f"worker {worker} ended with {worker}" for worker in (1, 2, 3)]
    assert first.files == second.files
