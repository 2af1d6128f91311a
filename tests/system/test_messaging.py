"""Brokers, caches, queues and remote procedure calls between programs nobody here wrote."""

from __future__ import annotations

import re

from tests.system.experiment import Laboratory, Programs, experiment, host, network, process, python, shell

RUNNING = {"expected_final_state": "running"}


def test_mosquitto_keeps_messages_and_publishes_wills(laboratory: Laboratory, program: Programs) -> None:
    broker, publish, subscribe = (program(name) for name in ("mosquitto", "mosquitto_pub", "mosquitto_sub"))
    settings = "listener 1883\nallow_anonymous true\npersistence false\nlog_dest stderr\nlog_timestamp false\n"
    subscriber = f"{subscribe} -h broker -F '%t %q %r %p' -W 20 "
    mortal = process(
        subscribe,
        *("-h", "broker", "-i", "mortal", "-t", "orders", "-k", "5"),
        *("--will-topic", "deaths", "--will-payload", "mortal died", "--will-qos", "1"),
        start_time="2 s",
        shutdown_time="8 s",
        shutdown_signal="SIGKILL",
        expected_final_state={"signaled": "SIGKILL"},
    )
    speak = (
        f"{publish} -h broker -t state/door -r -q 1 -m open; for i in 1 2 3; do {publish} -h broker -t orders -q 2"
        f" -m order$i; done; sleep 1; seq 5 | {publish} -h broker -t lines -q 1 -l;"
        f" head -c 200000 /dev/zero | tr '\\0' x | {publish} -h broker -t large -q 1 -s"
    )
    session = f"{subscribe} -h broker -i sleeper -c -q 1 -t lines -t '+/door' -F '%t %p'"
    run = laboratory.run_twice(
        experiment(
            {
                "broker": host(
                    shell(f"echo '{settings}' > m.conf; exec {broker} -c m.conf", **RUNNING),
                    users=["mosquitto"],
                ),
                "reader": host(
                    shell(f"{subscriber} -t orders -t deaths -q 2 > orders; echo $? >> orders", start_time="1 s"),
                    shell(f"{subscriber} -t large -q 1 -C 1 | wc -c > size", start_time="1 s"),
                ),
                "late": host(shell(f"{subscriber} -t 'state/#' -q 1 -C 1", start_time="10 s")),
                "sleeper": host(shell(f"{session} -E; sleep 8; {session} -C 7", start_time="1 s")),
                "mortal": host(mortal),
                "speaker": host(shell(speak, start_time="4 s"), node=1),
            },
            network=network(latency="20 ms", loss=0.02),
            stop_time="40 s",
        )
    )
    assert run.path("reader", "orders").read_text().splitlines() == [
        *(f"orders 2 0 order{number}" for number in (1, 2, 3)),
        "deaths 1 0 mortal died",
        "27",  # it was told to wait no longer
    ]
    assert run.path("reader", "size").read_text() == "200011\n"
    assert run.stdout("late") == "state/door 1 1 open\n"
    # What came while it was away, then what is kept for whoever subscribes.
    lines = [f"lines {number}" for number in range(1, 6)]
    assert run.stdout("sleeper").splitlines() == ["state/door open", *lines, "state/door open"]
    assert run.stdout("mortal").splitlines() == ["order1", "order2", "order3"]


_MEMCACHE = """
import sys, time
from pymemcache.client.base import Client
from pymemcache.client.hash import HashClient
me = sys.argv[1]
both = HashClient([("one", 11211), ("two", 11211)], timeout=5)
both.set_many({f"{me}{number}": str(number) * 100 for number in range(100)})
found = both.get_many([f"{me}{number}" for number in range(101)])
print(len(found), all(value.decode() == key[1:] * 100 for key, value in found.items()))
one = Client(("one", 11211))
one.add("total", "0")
for _ in range(50):
    one.incr("total", 1)
value, token = one.gets("large")
while not one.cas("large", value + me.encode() * 1000, token):
    value, token = one.gets("large")
one.set("brief", "here", expire=2)
print(one.get("brief"))
time.sleep(4)
print(one.get("brief"), one.get("total"), len(one.get("large")), one.stats()[b"threads"], one.stats()[b"curr_items"])
print(Client(("two", 11211)).stats()[b"curr_items"])
"""


def test_memcached_serves_clients_with_four_threads(laboratory: Laboratory, program: Programs) -> None:
    program.package("pymemcache")
    server = process(program("memcached"), "-t", "4", "-m", "16", "-u", "nobody", **RUNNING)
    begin = "from pymemcache.client.base import Client; Client(('one', 11211)).set('large', b'')"
    run = laboratory.run_twice(
        experiment(
            {
                "one": host(server),
                "two": host(server),
                "first": host(python(begin, start_time="1 s")),
                **{name: host(python(_MEMCACHE, name, start_time="2 s")) for name in "abc"},
            },
            network=network(latency="5 ms"),
        )
    )
    shares = [line.split() for line in run.stdout("a").splitlines()[-2:]]
    (_, total, large, threads, here), (there,) = shares
    assert (total, large, threads) == ("b'150'", "3000", "4")
    assert int(here) + int(there) == 3 * 100 + 2  # the total and what is large, but not what was brief
    for name in "abc":
        assert run.stdout(name).splitlines() == ["100 True", "b'here'", f"None {total} 3000 4 {here}", there]


_ZEROMQ_BROKER = """
import zmq
context = zmq.Context()
front, back, news = context.socket(zmq.ROUTER), context.socket(zmq.DEALER), context.socket(zmq.PUB)
front.bind("tcp://*:5000"); back.bind("tcp://*:5001"); news.bind("tcp://*:5002")
control = context.socket(zmq.REP); control.bind("ipc://control.socket")
poller = zmq.Poller()
for socket in (front, back, control):
    poller.register(socket, zmq.POLLIN)
passed = 0
while True:
    for socket, _ in poller.poll():
        message = socket.recv_multipart()
        if socket is control:
            socket.send_string(str(passed)); news.send_multipart([b"end", b""])
        else:
            (back if socket is front else front).send_multipart(message); passed += 1
            news.send_multipart([b"count", str(passed).encode()])
"""
_ZEROMQ_WORKER = """
import sys, zmq
context = zmq.Context()
work, news = context.socket(zmq.REP), context.socket(zmq.SUB)
work.connect("tcp://broker:5001"); news.connect("tcp://broker:5002"); news.subscribe("end")
poller = zmq.Poller(); poller.register(work, zmq.POLLIN); poller.register(news, zmq.POLLIN)
done = 0
while True:
    ready = dict(poller.poll())
    if news in ready: break
    number = int(work.recv()); done += 1
    work.send_string(f"{number * number} by {sys.argv[1]}")
print(done)
"""
_ZEROMQ_CLIENT = """
import threading, zmq
context = zmq.Context()
answers = []
def ask(first):
    socket = context.socket(zmq.REQ); socket.connect("tcp://broker:5000")
    for number in range(first, first + 20):
        socket.send_string(str(number)); answers.append((number, socket.recv_string()))
threads = [threading.Thread(target=ask, args=(first,)) for first in (0, 20, 40)]
for thread in threads: thread.start()
for thread in threads: thread.join()
print(all(int(answer.split()[0]) == number * number for number, answer in answers), len(answers))
print(sorted({answer.split()[2] for _, answer in answers}))
"""
_ZEROMQ_END = """
import zmq
socket = zmq.Context().socket(zmq.REQ); socket.connect("ipc://control.socket"); socket.send(b"")
print(socket.recv_string(), file=open("passed", "w"))
"""


def test_zeromq_sockets_divide_work(laboratory: Laboratory, program: Programs) -> None:
    program.package("zmq")
    run = laboratory.run_twice(
        experiment(
            {
                "broker": host(python(_ZEROMQ_BROKER, **RUNNING), python(_ZEROMQ_END, start_time="20 s")),
                **{name: host(python(_ZEROMQ_WORKER, name)) for name in ("w1", "w2")},
                "client": host(python(_ZEROMQ_CLIENT, start_time="2 s"), node=1),
            },
            network=network(latency="5 ms"),
        )
    )
    assert run.stdout("client").splitlines() == ["True 60", "['w1', 'w2']"]
    assert [int(run.stdout(name)) for name in ("w1", "w2")] == [30, 30]  # in turn
    assert run.path("broker", "passed").read_text() == "120\n"


_GRPC_SERVER = """
import concurrent.futures, grpc, time
def square(request, context):
    return str(int(request) ** 2).encode()
def count(request, context):
    for number in range(int(request)):
        yield str(number).encode()
def echo(requests, context):
    for request in requests:
        yield request[::-1]
def total(requests, context):
    return str(sum(len(request) for request in requests)).encode()
def slow(request, context):
    time.sleep(5)
    return b"late"
def fail(request, context):
    context.abort(grpc.StatusCode.FAILED_PRECONDITION, "no " + context.peer().split(":")[0])
methods = {
    "Square": grpc.unary_unary_rpc_method_handler(square), "Count": grpc.unary_stream_rpc_method_handler(count),
    "Echo": grpc.stream_stream_rpc_method_handler(echo), "Total": grpc.stream_unary_rpc_method_handler(total),
    "Slow": grpc.unary_unary_rpc_method_handler(slow), "Fail": grpc.unary_unary_rpc_method_handler(fail),
}
server = grpc.server(concurrent.futures.ThreadPoolExecutor(4))
server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler("test.Service", methods),))
server.add_insecure_port("[::]:50051")
server.start()
server.wait_for_termination()
"""
_GRPC_CLIENT = """
import grpc, time
channel = grpc.insecure_channel("server:50051")
grpc.channel_ready_future(channel).result(10)
of = lambda kind, name: getattr(channel, kind)(f"/test.Service/{name}")
print([of("unary_unary", "Square")(str(number).encode()) for number in range(5)])
print(sum(int(number) for number in of("unary_stream", "Count")(b"500")))
print(list(of("stream_stream", "Echo")(word.encode() for word in "able was I".split())))
print(of("stream_unary", "Total")(bytes(100_000) for _ in range(30)))
futures = [of("unary_unary", "Slow").future(b"", timeout=timeout) for timeout in (1, 9)]
start = time.monotonic()
for future in futures:
    try:
        print(future.result(), round(time.monotonic() - start, 1))
    except grpc.RpcError as error:
        print(error.code().name, round(time.monotonic() - start, 1))
try:
    of("unary_unary", "Fail")(b"")
except grpc.RpcError as error:
    print(error.code().name, error.details())
"""


def test_grpc_calls_in_all_four_ways(laboratory: Laboratory, program: Programs) -> None:
    program.package("grpc")
    run = laboratory.run_twice(
        experiment(
            {
                "server": host(python(_GRPC_SERVER, **RUNNING)),
                "client": host(python(_GRPC_CLIENT, start_time="2 s"), node=1),
            },
            network=network(latency="10 ms", up="50 Mbit"),
        )
    )
    assert run.stdout("client").splitlines() == [
        "[b'0', b'1', b'4', b'9', b'16']",
        str(sum(range(500))),
        "[b'elba', b'saw', b'I']",
        "b'3000000'",
        "DEADLINE_EXCEEDED 1.0",
        "b'late' 5.0",
        "FAILED_PRECONDITION no ipv4",
    ]


_JETSTREAM = """
import json, socket, sys, time
connection = socket.create_connection(("n2", 4222))
stream = connection.makefile("rb")
stream.readline()
connection.sendall(b'CONNECT {"verbose":false}\\r\\nSUB answers 1\\r\\n')

def request(subject, content=b""):
    connection.sendall(b"PUB %s answers %d\\r\\n%s\\r\\n" % (subject.encode(), len(content), content))
    while True:
        line = stream.readline().split()
        if line[0] == b"MSG":
            answer = json.loads(stream.read(int(line[-1])))
            stream.readline()
            return answer
        if line[0] == b"PING":
            connection.sendall(b"PONG\\r\\n")

stream_of_three = {"name": "ORDERS", "subjects": ["orders.*"], "num_replicas": 3, "storage": "file"}
made = request("$JS.API.STREAM.CREATE.ORDERS", json.dumps(stream_of_three).encode())
print("made", made["config"]["num_replicas"], made["cluster"]["leader"] in ("n1", "n2", "n3"))
print("before", [request("orders.new", b"order %d" % number)["seq"] for number in range(3)])
time.sleep(20 - time.time() % 60)
print("after", [request("orders.new", b"order %d" % number)["seq"] for number in range(3, 6)])
info = request("$JS.API.STREAM.INFO.ORDERS")
print("kept", info["state"]["messages"], info["cluster"]["leader"] in ("n2", "n3"))
print("unheard", [peer["name"] for peer in info["cluster"]["replicas"] if peer["active"] > 5e9])
"""


def test_a_cluster_of_nats_keeps_a_stream_though_a_node_dies(laboratory: Laboratory, program: Programs) -> None:
    nats = program("nats-server")
    routes = ",".join(f"nats://n{number}:6222" for number in (1, 2, 3))
    options = f"-p 4222 -js -sd js --cluster_name c --cluster nats://0.0.0.0:6222 --routes {routes}".split()
    killed = {"shutdown_time": "14 s", "shutdown_signal": "SIGKILL", "expected_final_state": {"signaled": "SIGKILL"}}
    run = laboratory.run_twice(
        experiment(
            {
                **{
                    name: host(process(nats, *options, "--name", name, start_time="1 s", **ending))
                    for name, ending in (("n1", killed), ("n2", RUNNING), ("n3", RUNNING))
                },
                "client": host(python(_JETSTREAM, start_time="10 s"), node=1),
            },
            network=network(latency="5 ms"),
        )
    )
    assert run.stdout("client").splitlines() == [
        *("made 3 True", "before [1, 2, 3]", "after [4, 5, 6]", "kept 6 True", "unheard ['n1']"),
    ]


#: Logs in (RFC 6120), and talks with somebody of another server, who may not be there yet.
_CHAT = r"""
import base64, re, socket, sys
name, server, other, first = sys.argv[1:]
stream, unread = socket.create_connection((server, 5222)), ""

def tell(text):
    stream.sendall(text.encode())

def expect(pattern):
    global unread
    while not (found := re.search(pattern, unread)):
        part = stream.recv(65536).decode()
        if not part:
            raise SystemExit(f"the stream ended instead of {pattern}")
        unread += part
    unread = unread[found.end() :]
    return found

def begin():
    names = "xmlns=\"jabber:client\" xmlns:stream=\"http://etherx.jabber.org/streams\""
    tell(f"<stream:stream to=\"{server}\" version=\"1.0\" {names}>")
    expect("</stream:features>")

begin()
token = base64.b64encode(f"\0{name}\0secret".encode()).decode()
tell(f"<auth xmlns=\"urn:ietf:params:xml:ns:xmpp-sasl\" mechanism=\"PLAIN\">{token}</auth>")
expect("<success")
begin()
tell("<iq type=\"set\" id=\"1\"><bind xmlns=\"urn:ietf:params:xml:ns:xmpp-bind\"><resource>desk</resource></bind></iq>")
print(expect("<jid>(.*?)</jid>")[1])
tell("<presence/>")
for number in range(3):
    if first == "first":
        tell(f"<message to=\"{other}\" type=\"chat\"><body>question {number}</body></message>")
    found = expect("<message(.*?)<body>(.*?)</body>(.*?)</message>")
    print(found[2], *re.findall("delay.* stamp=.([-0-9T:]*)", found[1] + found[3]))
    if first != "first":
        tell(f"<message to=\"{other}\" type=\"chat\"><body>answer {number}</body></message>")
tell("</stream:stream>")
expect("</stream:stream>")
"""


def test_servers_of_prosody_pass_messages_on_and_keep_those_of_who_is_away(
    laboratory: Laboratory, program: Programs
) -> None:
    prosody, prosodyctl = program("prosody"), program("prosodyctl")

    def server(name: str, user: str) -> dict[str, object]:
        settings = (
            'run_as_root = true; pidfile = "prosody.pid"; data_path = "data"; log = { info = "*console" }\n'
            'modules_enabled = { "roster", "saslauth", "dialback", "disco", "offline" }\n'
            'authentication = "internal_plain"; allow_unencrypted_plain_auth = true\n'
            "c2s_require_encryption = false; s2s_require_encryption = false; s2s_secure_auth = false\n"
            f'VirtualHost "{name}"\n'
        )
        script = (
            f"mkdir data; echo '{settings}' > prosody.lua;"
            f" {prosodyctl} --config prosody.lua register {user} {name} secret > /dev/null;"
            f" exec {prosody} -F --config prosody.lua"
        )
        return shell(script, start_time="1 s", **RUNNING)

    run = laboratory.run_twice(
        experiment(
            {
                "one": host(server("one", "alice")),
                "two": host(server("two", "bob"), node=1),
                "alice": host(python(_CHAT, "alice", "one", "bob@two", "first", start_time="5 s")),
                "bob": host(python(_CHAT, "bob", "two", "alice@one", "second", start_time="15 s"), node=1),
            },
            network=network(latency="20 ms", loss=0.02),
            stop_time="30 s",
        )
    )
    assert run.stdout("alice").splitlines() == ["alice@one/desk", *(f"answer {number}" for number in range(3))]
    first, *later = run.stdout("bob").splitlines()[1:]
    assert re.fullmatch(r"question 0 2000-01-01T00:00:0[5-9]", first)
    assert later == ["question 1", "question 2"]
