"""Whatever is wrong with a configuration is told before anything starts: line, key, what would be right."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from antumbra import ConfigurationError, load_configuration, make_plan
from antumbra.resources import Machine
from bridge.errors import UserError

# Line numbers of cases count from here: every case is appended to it.
GENERAL = "general: {stop_time: 10 s}\n"
SWITCH = "network: {graph: {type: 1_gbit_switch}}\n"
HOSTS = "hosts: {a: {network_node_id: 0, processes: []}}\n"
BASE = GENERAL + SWITCH + HOSTS

GML = """\
network:
  graph:
    type: gml
    inline: |
      graph [
        node [ id 0 host_bandwidth_up "1 Mbit" host_bandwidth_down "1 Mbit" ]
        node [ id 1 host_bandwidth_up "1 Mbit" host_bandwidth_down "1 Mbit" ]
        node [ id 2 ]
        edge [ source 0 target 0 latency "1 ms" ]
      ]
"""


def process(text: str) -> str:
    return GENERAL + SWITCH + f"hosts:\n  a:\n    network_node_id: 0\n    processes:\n    - {text}\n"


def host(text: str) -> str:
    return GENERAL + SWITCH + f"hosts:\n  a:\n    network_node_id: 0\n    processes: []\n    {text}\n"


def cold(text: str) -> str:
    return GENERAL + SWITCH + f"cold:\n  populations: {{t: {{count: 9}}}}\n  {text}\n"


CASES = [
    # unknown keys
    ("genral: {}\n" + BASE, 1, "genral", "unknown key; did you mean 'general'?"),
    (
        "general:\n  stop_time: 1 s\n  stoptime: 3\n" + SWITCH + HOSTS,
        3,
        "general.stoptime",
        "did you mean 'stop_time'?",
    ),
    (host("quantity: 3"), 7, "hosts.a.quantity", "unknown key"),
    (
        host("host_options: {pcap_enable: true}"),
        7,
        "hosts.a.host_options.pcap_enable",
        "did you mean 'pcap_enabled'?",
    ),
    (process("pth: sleep"), 7, "hosts.a.processes[0].pth", "did you mean 'path'?"),
    (process("{path: sleep, agrs: 3}"), 7, "hosts.a.processes[0].agrs", "did you mean 'args'?"),
    (BASE + "experimental: {run_ahead: 1 ms}\n", 4, "experimental.run_ahead", "did you mean 'runahead'?"),
    (cold("gossip: {dlow: 3}"), 5, "cold.gossip.dlow", "did you mean 'd_low'?"),
    (
        cold("publications: [{topic: 1, time: 1 s, size: 9, kind: 3}]"),
        5,
        "cold.publications[0].kind",
        "unknown key",
    ),
    (BASE + "distributed: {shards: 2}\n", 4, "distributed.shards", "unknown key"),
    # missing keys
    (SWITCH + HOSTS, 1, "general", "is required"),
    (GENERAL + HOSTS, 1, "network", "is required"),
    ("general:\n  seed: 3\n" + SWITCH + HOSTS, 1, "general.stop_time", "is required"),
    (process("args: x"), 7, "hosts.a.processes[0].path", "is required"),
    (GENERAL + SWITCH + "hosts:\n  a:\n    processes: []\n", 4, "hosts.a.network_node_id", "is required"),
    (GENERAL + SWITCH, 1, "", "nothing to run"),
    ("", 1, "", "must hold a mapping"),
    ("- 1\n", 1, "", "must hold a mapping"),
    # types, units and values
    (
        "general: {stop_time: 10 parsec}\n" + SWITCH + HOSTS,
        1,
        "general.stop_time",
        "'parsec' is not a unit of time",
    ),
    ("general: {stop_time: 0}\n" + SWITCH + HOSTS, 1, "general.stop_time", "must be more than 0"),
    ("general: {stop_time: 1.5}\n" + SWITCH + HOSTS, 1, "general.stop_time", "1.5 is not a time"),
    ("general: {stop_time: 1 s, seed: x}\n" + SWITCH + HOSTS, 1, "general.seed", "must be a whole number"),
    ("general: {stop_time: 1 s, seed: true}\n" + SWITCH + HOSTS, 1, "general.seed", "must be a whole number"),
    ("general: {stop_time: 1 s, seed: -1}\n" + SWITCH + HOSTS, 1, "general.seed", "must be at least 0"),
    (
        "general: {stop_time: 1 s, progress: yes}\n" + SWITCH + HOSTS,
        1,
        "general.progress",
        "must be true or false",
    ),
    (
        "general: {stop_time: 1 s, log_level: inof}\n" + SWITCH + HOSTS,
        1,
        "general.log_level",
        "did you mean 'info'?",
    ),
    ("general: 3\n" + SWITCH + HOSTS, 1, "general", "must be a mapping"),
    (host("bandwidth_up: 1 MB"), 7, "hosts.a.bandwidth_up", "'MB' is not a unit of bandwidth"),
    (host("bandwidth_down: 0"), 7, "hosts.a.bandwidth_down", "must be at least 1"),
    (host("ip_addr: 1.2.3"), 7, "hosts.a.ip_addr", "is not an IPv4 address"),
    (host("ip_addr: 127.0.0.1"), 7, "hosts.a.ip_addr", "cannot be the address of a host"),
    (host("ip6_addr: 11.0.0.1"), 7, "hosts.a.ip6_addr", "is not an IPv6 address"),
    (host("ip6_addr: fe80::1%eth0"), 7, "hosts.a.ip6_addr", "is not an IPv6 address"),
    (host("ip6_addr: '::1'"), 7, "hosts.a.ip6_addr", "cannot be the address of a host (loopback"),
    (host("ip6_addr: '::ffff:11.0.0.1'"), 7, "hosts.a.ip6_addr", "an IPv4 address in disguise"),
    (host("ip6_addr: ff02::1"), 7, "hosts.a.ip6_addr", "multicast"),
    (
        GENERAL + "network: {graph: {type: 1_gbit_switch}, ip6_prefix: '2001:db8::1/64'}\n" + HOSTS,
        2,
        "network.ip6_prefix",
        "zeros behind the prefix",
    ),
    (
        GENERAL + "network: {graph: {type: 1_gbit_switch}, ip6_prefix: '2001:db8::/112'}\n" + HOSTS,
        2,
        "network.ip6_prefix",
        "no room for an IPv4 address",
    ),
    (
        GENERAL + "network: {graph: {type: 1_gbit_switch}, ip6_prefix: 'fe80::/64'}\n" + HOSTS,
        2,
        "network.ip6_prefix",
        "link-local",
    ),
    (
        host("host_options: {pcap_capture_size: 1 Mbit}"),
        7,
        "hosts.a.host_options.pcap_capture_size",
        "unit of size",
    ),
    (process("{path: sleep, args: 3}"), 7, "hosts.a.processes[0].args", "list of strings"),
    (process("{path: sleep, args: [3]}"), 7, "hosts.a.processes[0].args", "list of strings"),
    (process('{path: sleep, args: "\'x"}'), 7, "hosts.a.processes[0].args", "no closing quotation"),
    (
        process("{path: sleep, environment: {A: 1}}"),
        7,
        "hosts.a.processes[0].environment.A",
        "put it in quotes",
    ),
    (
        process("{path: sleep, environment: {A=: x}}"),
        7,
        "hosts.a.processes[0].environment.A=",
        "environment variable",
    ),
    (process("{path: sleep, shutdown_signal: TERM}"), 7, "hosts.a.processes[0].shutdown_signal", "'SIGTERM'"),
    (
        process("{path: sleep, expected_final_state: {exited: 999}}"),
        7,
        "hosts.a.processes[0].expected_final_state",
        "",
    ),
    (
        process("{path: sleep, user: Not A Name}"),
        7,
        "hosts.a.processes[0].user",
        "'Not A Name' is not a user; write a name as 'postgres'",
    ),
    (
        process("{path: sleep, user: '1:4294967295'}"),
        7,
        "hosts.a.processes[0].user",
        "'1:4294967295' is not a user",
    ),
    (
        process("{path: sleep, expected_final_state: gone}"),
        7,
        "hosts.a.processes[0].expected_final_state",
        "running",
    ),
    (process("{path: ''}"), 7, "hosts.a.processes[0].path", "must not be empty"),
    (
        BASE + "experimental: {strace_logging_mode: on}\n",
        4,
        "experimental.strace_logging_mode",
        "'on' is not one of",
    ),
    (BASE + "distributed: {num_shards: 2}\n", 4, "distributed", "say 'enabled: true'"),
    # hostnames
    (
        GENERAL + SWITCH + "hosts:\n  A_b: {network_node_id: 0, processes: []}\n",
        4,
        "hosts.A_b",
        "is not a hostname",
    ),
    (
        GENERAL + SWITCH + "hosts:\n  -a: {network_node_id: 0, processes: []}\n",
        4,
        "hosts.-a",
        "may not begin with",
    ),
    (GENERAL + SWITCH + "hosts:\n  a..b: {network_node_id: 0, processes: []}\n", 4, "hosts.a..b", "1 to 63"),
    (
        GENERAL + SWITCH + "hosts:\n  7: {network_node_id: 0, processes: []}\n",
        4,
        "hosts[7]",
        "is not a hostname",
    ),
    (
        GENERAL + SWITCH + "hosts:\n  localhost: {network_node_id: 0, processes: []}\n",
        4,
        "hosts.localhost",
        "for itself",
    ),
    # YAML itself
    (BASE + "general: {stop_time: 3 s}\n", 4, "general", "written twice; first in line 1"),
    (BASE + "x: [\n", 5, "", "not YAML"),
    # times
    (
        process("{path: sleep, start_time: 10 s}"),
        7,
        "hosts.a.processes[0].start_time",
        "stop_time, which is 10 s",
    ),
    (
        process("{path: sleep, shutdown_time: 1 min}"),
        7,
        "hosts.a.processes[0].shutdown_time",
        "which is 10 s",
    ),
    (
        process("{path: sleep, start_time: 5 s, shutdown_time: 5 s}"),
        *(7, "hosts.a.processes[0].shutdown_time", "start_time, which is 5 s"),
    ),
    # programs
    (
        process("path: no-such-program"),
        7,
        "hosts.a.processes[0].path",
        "no program 'no-such-program' in PATH",
    ),
    (process("path: /no/such/file"), 7, "hosts.a.processes[0].path", "there is no file"),
    (process("path: /etc"), 7, "hosts.a.processes[0].path", "is not a file"),
    (process("path: /etc/passwd"), 7, "hosts.a.processes[0].path", "is not executable"),
    # the graph
    (GENERAL + "network: {graph: {type: gml}}\n" + HOSTS, 2, "network.graph", "exactly one of"),
    (
        GENERAL + "network: {graph: {type: 1_gbit_switch, inline: x}}\n" + HOSTS,
        2,
        "network.graph",
        "takes neither",
    ),
    (
        GENERAL + "network: {graph: {type: gml, file: {path: no.gml}}}\n" + HOSTS,
        2,
        "network.graph.file.path",
        "No such file",
    ),
    (GENERAL + GML.replace('"1 ms"', '"1 parsec"') + HOSTS, 10, "network.graph.inline", "not a unit of time"),
    (GENERAL + GML.replace("id 1 ", "") + HOSTS, 8, "network.graph.inline", "has no 'id'"),
    (
        GENERAL + GML + "hosts:\n  a: {network_node_id: 7, processes: []}\n",
        *(13, "hosts.a.network_node_id", "there is no node 7 in the graph; it has 0, 1, 2"),
    ),
    (
        GENERAL + GML + "hosts:\n  a: {network_node_id: 2, processes: []}\n",
        *(13, "hosts.a.bandwidth_up", "node 2 of the graph has no host_bandwidth_up"),
    ),
    (
        GENERAL + GML + "hosts:\n  a: &h {network_node_id: 1, processes: []}\n  b: *h\n",
        *(13, "hosts.a.network_node_id", "2 hosts share node 1 (a, ...), which has no edge to itself"),
    ),
    (
        GENERAL + GML + "hosts:\n  a: {network_node_id: 0, processes: []}\n  b: {network_node_id: 1, processes: []}\n",
        *(13, "hosts.a.network_node_id", "no path from node 0 (a) to node 1 (b)"),
    ),
    (
        GENERAL + GML + "cold:\n  populations:\n    t:\n      count: 5\n      regions: {0: 1, 9: 1}\n",
        *(16, "cold.populations.t.regions[9]", "there is no node 9"),
    ),
    (
        GENERAL + GML + "cold:\n  populations:\n    t:\n      count: 5\n",
        *(14, "cold.populations.t.bandwidth", "node 2 of the graph has no"),
    ),
    # addresses
    (
        GENERAL
        + SWITCH
        + "hosts:\n  a: &a\n    network_node_id: 0\n    processes: []\n    ip_addr: 11.0.0.7\n  b: *a\n",
        *(7, "hosts.b.ip_addr", "11.0.0.7 is already the address of host a"),
    ),
    (
        GENERAL
        + SWITCH
        + "hosts:\n  a: &a\n    network_node_id: 0\n    processes: []\n    ip6_addr: fd00::7\n  b: *a\n",
        *(7, "hosts.b.ip6_addr", "fd00::7 is already the address of host a"),
    ),
    (
        host("ip6_addr: 'fd41:6e74:756d::11.0.0.2'") + "  b: {network_node_id: 0, processes: []}\n",
        *(7, "hosts.a.ip6_addr", "fd41:6e74:756d::b00:2 is the address of b, which comes from its IPv4"),
    ),
    (
        cold("populations: 3").replace("  populations: {t: {count: 9}}\n", ""),
        4,
        "cold.populations",
        "must be a mapping",
    ),
    (
        GENERAL + SWITCH + "cold: {populations: {t: {count: 300, addresses: 10.0.0.0/24}}}\n",
        *(3, "cold.populations.t.addresses", "300 identities do not fit"),
    ),
    # the cold tail
    (
        GENERAL + SWITCH + "cold: {populations: {t: {count: 3, addresses: 10.0.0.1/24}}}\n",
        *(3, "cold.populations.t.addresses", "is not a range of IPv4 addresses"),
    ),
    (cold("gossip: {d: 3}"), 5, "cold.gossip", "d_low <= d <= d_high, and are 6, 3, 12"),
    (cold("gossip: {fanout_ttl: 0 s, flood_publish: false}"), 5, "cold.gossip.fanout_ttl", "must be more than 0"),
    (cold("gossip: {fanout_ttl: 60 s}"), 5, "cold.gossip", "fanout_ttl belongs to flood_publish: false"),
    (cold("gossip: {mcache_gossip: 9}"), 5, "cold.gossip", "must not be larger than mcache_length"),
    (cold("gossip: {seen_ttl: 1 s}"), 5, "cold.gossip", "at least mcache_length heartbeats"),
    (cold("gossip: {validation_delay: [3 ms, 1 ms]}"), 5, "cold.gossip.validation_delay", "must ascend"),
    (
        cold("gossip: {validation_delay: {kind: uniform, low: 1 ms, hihg: 2 ms}}"),
        *(5, "cold.gossip.validation_delay.hihg", "unknown key"),
    ),
    (
        cold("gossip: {validation_delay: {kind: sample, path: d.csv, column: x, unit: 1 s}}"),
        *(5, "cold.gossip.validation_delay", "d.csv cannot be read"),
    ),
    (cold("gossip: {d_out: 5}"), 5, "cold.gossip", "must be below d_low and not exceed d / 2"),
    (cold("gossip: {score: {first_weight: -1}}"), 5, "cold.gossip.score.first_weight", "at least 0"),
    (cold("gossip: {score: {first_weigth: 1}}"), 5, "cold.gossip.score.first_weigth", "unknown key"),
    (
        cold("gossip: {score: {delivery_threshold: 101}}"),
        *(5, "cold.gossip.score", "delivery_threshold must not be more than delivery_cap"),
    ),
    (
        cold("gossip: {score: {}}\n  resolution: {default: sampled}"),
        *(3, "cold", "gossip.score: only exact topics have the deliveries that members are judged by"),
    ),
    (cold("gossip: {idontwant_size: -1}"), 5, "cold.gossip.idontwant_size", "-1 is not"),
    (cold("transactions: {}"), 5, "cold.transactions", "there are none: give a rate"),
    (cold("transactions: {rate: 0}"), 5, "cold.transactions.rate", "must be more than 0"),
    (cold("transactions: {rate: 1, interval: 1 s}"), 5, "cold.transactions", "a rate or an interval, not both"),
    (cold("transactions: {interval: 1 ns}"), 5, "cold.transactions", "at least a microsecond"),
    (cold("transactions: {rate: 1, degree: 1}"), 5, "cold.transactions.degree", "at least 2"),
    (cold("transactions: {rate: 1, size: 129 KiB}"), 5, "cold.transactions.size", "at most 131072"),
    (cold("transactions: {rate: 1, blob_size: 200 KB}"), 5, "cold.transactions", "belongs to a blob_share above 0"),
    (
        cold("transactions: {rate: 1, announce_interval: 12 s}"),
        *(5, "cold.transactions", "announce_interval must be shorter than lifetime"),
    ),
    (
        cold("transactions: {rate: 1, origins: {populations: [u]}}"),
        *(3, "cold", "transactions.origins.populations: there is no u"),
    ),
    (
        cold("transactions: {size: 1 KB, listed: [{time: 1 s, size: 200}]}"),
        *(5, "cold.transactions", "size is about what is drawn, and there is neither rate nor interval"),
    ),
    (
        cold("transactions: {listed: [{time: 1 s, size: 200 KB}]}"),
        *(5, "cold.transactions.listed[0]", "without blobs a transaction has at most 131072 bytes"),
    ),
    (
        cold("transactions: {listed: [{time: 1 s, size: 200, origin: 9}]}"),
        *(3, "cold", "transactions.listed[0].origin: there is no identity 9; the last is 8"),
    ),
    (cold("topics: [1, 1]"), 5, "cold.topics", "listed twice"),
    (cold("topics: [x]"), 5, "cold.topics[0]", "must be a whole number"),
    (cold("topics: [{name: a, first: 1, cuont: 2}]"), 5, "cold.topics[0].cuont", "unknown key"),
    (
        cold("topics: [{name: a, first: 1, count: 2, per_identity: 3}]"),
        *(5, "cold.topics[0]", "per_identity must not be more than count"),
    ),
    (
        cold("topics: [{name: a, first: 1, count: 2, per_identity: 1, share: 0.5}]"),
        *(5, "cold.topics[0]", "per_identity or share, not both"),
    ),
    (cold("topics: [{name: a, first: 65535, count: 2}]"), 5, "cold.topics[0]", "would be number 65536"),
    (cold("topics: [{name: a, first: 1, count: 2}, 2]"), 5, "cold.topics", "listed twice"),
    (
        cold("topics: [{name: a, first: 1, count: 2}, {name: a, first: 9, count: 2}]"),
        *(5, "cold.topics", "two groups have one name"),
    ),
    (
        cold("topics: [{name: a, first: 1, count: 1000}, {name: b, first: 2000, count: 30}]"),
        *(5, "cold.topics", "1030 topics are more than 1024"),
    ),
    (cold("publications: [{topic: 2, time: 1 s, size: 9}]"), 3, "cold", "topic 2 is not one of topics"),
    (cold("publications: [{topic: 1, time: 1 s, size: 9, origin: 9}]"), 3, "cold", "there is no identity 9"),
    (
        cold("publications: [{topic: 1, time: 1 s, size: 11 MB}]"),
        5,
        "cold.publications[0].size",
        "at most 10485760",
    ),
    (
        BASE + "cold:\n  populations: {t: {count: 9}}\n  publications: [{topic: 1, time: 1 s, size: 1 MB}]\n",
        *(4, "cold", "messages of up to 1000000 bytes do not fit a datagram to hot hosts; 60000 bytes do"),
    ),
    (cold("calendar: {validators: {count: 9}}"), 5, "cold.calendar", "nothing is published"),
    (cold("calendar: {blocks: {topic: 1}}"), 5, "cold.calendar.validators", "is required"),
    (
        cold("calendar: {validators: {count: 9}, blocks: {topic: 2}}"),
        *(3, "cold", "calendar.blocks.topic is none of topics"),
    ),
    (
        cold("calendar: {validators: {count: 9}, attestations: {topics: subnets}}"),
        *(3, "cold", "calendar.attestations.topics is none of topics"),
    ),
    (
        cold("calendar: {validators: {count: 9, populations: [u]}, blocks: {topic: 1}}"),
        *(3, "cold", "calendar.validators.populations: there is no population u"),
    ),
    (
        GENERAL + SWITCH + "cold: {populations: {t: {count: 3, churn: goerli}}}\n",
        *(3, "cold.populations.t.churn", "'goerli' is no preset; known here: mainnet"),
    ),
    (
        GENERAL + SWITCH + "cold: {populations: {t: {count: 3, churn: {sessions: 3 s}}}}\n",
        *(3, "cold.populations.t.churn.absences", "is required"),
    ),
    (cold("failures: [{kind: crash, time: 0 s}]"), 5, "cold.failures[0].time", "must be at least"),
    (
        cold("failures: [{kind: partition, time: 2 s, regions: [0, 7]}]"),
        *(5, "cold.failures[0].regions[1]", "there is no node 7"),
    ),
    (
        cold("requests: [{name: ping, interval: 1 s, chunk_size: 8, limit: {tokens: 0, period: 1 s}}]"),
        *(5, "cold.requests[0].limit.tokens", "must be at least 1"),
    ),
    (cold("requests: [{name: ping, chunk_size: 8}]"), 5, "cold.requests[0]", "nobody ever asks"),
    (
        cold("requests: [{name: p, interval: 1 s, chunk_size: 8, resolution: {level: sampled, representatives: 1}}]"),
        *(5, "cold.requests[0].resolution.representatives", "must be at least 2"),
    ),
    (
        cold("requests: [{name: p, interval: 1 s, chunk_size: 8, resolution: {representatives: 9}}]"),
        *(5, "cold.requests[0].resolution", "representatives belong to level: sampled"),
    ),
    (
        cold("requests: [{name: ping, interval: 1 s, chunk_size: 8, servers: {clients: [nimbus]}}]"),
        *(3, "cold", "requests[0].servers.clients: there is no nimbus"),
    ),
    (cold("failures: [{kind: degradation, time: 2 s}]"), 5, "cold.failures[0]", "needs latency or loss"),
    (cold("failures: [{kind: flood, time: 2 s}]"), 5, "cold.failures[0]", "does not match any of the expected tags"),
    (
        cold("failures: [{kind: crash, time: 2 s, until: 2 s}]"),
        *(5, "cold.failures[0]", "until must be at least a second after time"),
    ),
    (
        cold("calendar: {validators: {count: 9}, columns: {topics: 1}}"),
        *(5, "cold.calendar", "columns are those of a block"),
    ),
    (
        cold("calendar: {validators: {count: 9}, sync_subcommittees: 5, sync_messages: {topics: 1}}"),
        *(5, "cold.calendar", "must be a multiple of sync_subcommittees"),
    ),
    (
        GENERAL + SWITCH + "cold: {populations: {t: {count: 3, clock: {offset: 3 ms}}}}\n",
        *(3, "cold", "populations.t.clock times the duties of a calendar, and there is none"),
    ),
    (
        GENERAL + SWITCH + "cold: {populations: {t: {count: 3, clock: {drift: 3}}}}\n",
        *(3, "cold.populations.t.clock.drift", "write it as '20 ppm' or '500 ppb'"),
    ),
    (
        cold("clients: {a: {share: 1, gossip: {d: 13}}}"),
        *(3, "cold", "clients.a.gossip: the mesh degrees must be d_low <= d <= d_high, and are 6, 13, 12"),
    ),
    (
        cold("clients: {a: {share: 1, gossip: {heartbeat: 21 s}}}"),
        *(3, "cold", "clients.a.gossip: seen_ttl must be at least mcache_length heartbeats"),
    ),
    (cold("clients: {a: {share: 0}}"), 5, "cold.clients.a.share", "must be more than 0"),
    (cold("overlay: {degree: 1}"), 5, "cold.overlay.degree", "must be at least 2"),
    (cold("overlay: {target: 0}"), 5, "cold.overlay.target", "must be at least 1"),
    (cold("overlay: {target: 20, outbound: 2}"), 5, "cold.overlay.outbound", "must be at most 1"),
    (cold("overlay: {maximum: 20}"), 5, "cold.overlay", "maximum belongs to a target"),
    (cold("overlay: {degree: 20, target: 20}"), 5, "cold.overlay", "a degree or a target, not both"),
    (cold("overlay: {target: 20, maximum: 19}"), 5, "cold.overlay", "maximum must be at least the target"),
    (
        cold("overlay: {target: 20}\n  clients: {a: {share: 1, overlay: {target: 30, maximum: 25}}}"),
        *(3, "cold", "clients.a.overlay: maximum must be at least the target, and they are 25 and 30"),
    ),
    (
        cold("clients: {a: {share: 1, overlay: {outbound: 1}}}"),
        *(3, "cold", "clients.a.overlay: clients differ in how they dial, and overlay has no target"),
    ),
    (
        GENERAL + SWITCH + "cold: {populations: {t: {count: 3, reachable: 0.5}}}\n",
        *(3, "cold", "populations.t.reachable is about dialling, and overlay has no target"),
    ),
]


@pytest.mark.parametrize(("text", "line", "key", "message"), CASES, ids=[f"{case[2]}-{case[3][:20]}" for case in CASES])
def test_what_is_wrong_is_told_with_its_line_and_key(
    text: str, line: int, key: str, message: str, write: Callable[[str], Path]
) -> None:
    path = write(text)
    with pytest.raises(ConfigurationError) as caught:
        make_plan(load_configuration(path))
    told = [(problem.line, problem.key) for problem in caught.value.problems if message in problem.message]
    assert (line, key) in told, str(caught.value)
    assert f"{path}:{line}: " in str(caught.value)
    assert caught.value.exit_code == 2


def test_all_problems_are_told_together(write: Callable[[str], Path]) -> None:
    path = write(process("{path: 3, args: 4, x: 5}").replace("stop_time: 10 s", "stop_time: 10 x"))
    with pytest.raises(ConfigurationError) as caught:
        load_configuration(path)
    assert [problem.key for problem in caught.value.problems] == [
        "general.stop_time",
        "hosts.a.processes[0].args",
        "hosts.a.processes[0].path",
        "hosts.a.processes[0].x",
    ]


def test_problems_with_programs_and_with_the_graph_are_told_together(write: Callable[[str], Path]) -> None:
    path = write(process("{path: /no/such, start_time: 1 h}").replace("network_node_id: 0", "network_node_id: 4"))
    with pytest.raises(ConfigurationError) as caught:
        make_plan(load_configuration(path))
    assert {problem.key for problem in caught.value.problems} == {
        "hosts.a.processes[0].path",
        "hosts.a.processes[0].start_time",
        "hosts.a.network_node_id",
    }


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"#!/no/such/interpreter\n", "is a script for /no/such/interpreter, which is not there"),
        (b"hello", "is neither an ELF program nor a script"),
        (b"\x7fELF\x01\x01" + bytes(58), "is not a 64-bit x86-64 program"),
        (b"\x7fELF\x02\x01" + bytes(12) + b"\xb7\x00" + bytes(44), "is not a 64-bit x86-64 program"),
    ],
)
def test_a_file_that_cannot_run_is_told(
    content: bytes, message: str, tmp_path: Path, write: Callable[[str], Path]
) -> None:
    program = tmp_path / "program"
    program.write_bytes(content)
    program.chmod(0o755)
    with pytest.raises(ConfigurationError, match=message):
        make_plan(load_configuration(write(process(f"path: {program}"))))


@pytest.mark.parametrize(
    ("machine", "message"),
    [
        (Machine(2**20, None, None), "needs about .* of memory .* and this machine has 1 MiB available"),
        (Machine(2**40, 10, None), "starts 1 processes, and this machine allows 10"),
        (Machine(2**40, None, 50), "the hard limit here is 50"),
    ],
)
def test_an_experiment_larger_than_the_machine_is_refused_with_the_numbers(
    machine: Machine, message: str, write: Callable[[str], Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("antumbra.plan.this_machine", lambda: machine)
    with pytest.raises(ConfigurationError, match=message):
        make_plan(load_configuration(write(process("path: sleep"))))


def test_a_tail_larger_than_the_machine_is_refused_with_the_numbers(
    write: Callable[[str], Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("antumbra.plan.this_machine", lambda: Machine(8 * 2**30, None, None))
    text = cold("overlay: {degree: 512}").replace("count: 9", "count: 16000000, addresses: 16.0.0.0/6")
    with pytest.raises(ConfigurationError, match=r"7\d\.\d+ GiB for the cold tail.* has 8 GiB available"):
        make_plan(load_configuration(write(text)))


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        ({"stop_time": "soon"}, "--stop-time: 'soon' is not a time"),
        ({"stop_time": 0}, "--stop-time: .*greater than 0"),
        ({"seed": -1}, "--seed: .*greater than or equal to 0"),
        ({"strace_logging_mode": "on"}, "--strace-logging-mode: .*'off'"),
    ],
)
def test_wrong_overrides_are_told_by_their_option(
    overrides: dict[str, object], message: str, write: Callable[[str], Path]
) -> None:
    with pytest.raises(UserError, match=message):
        load_configuration(write(BASE), **overrides)  # type: ignore[arg-type]


def test_a_file_that_cannot_be_read_is_told(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"missing\.yaml: the configuration cannot be read: No such file"):
        load_configuration(tmp_path / "missing.yaml")
    (tmp_path / "latin.yaml").write_bytes(b"general: \xff\n")
    with pytest.raises(UserError, match="is not UTF-8"):
        load_configuration(tmp_path / "latin.yaml")
