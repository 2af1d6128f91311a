"""Configurations that are right: Shadow's documented examples as they are, and what becomes of each key."""

from __future__ import annotations

import lzma
import os
import signal
from collections.abc import Callable
from ipaddress import IPv4Address
from pathlib import Path

import pytest

from antumbra import load_configuration, make_plan
from hot.section import FinalState

Write = Callable[[str], Path]

# https://shadow.github.io/docs/guide/getting_started_basic.html
BASIC_FILE_TRANSFER = """\
general:
  # stop after 10 simulated seconds
  stop_time: 10s
  # old versions of cURL use a busy loop, so to avoid spinning in this busy
  # loop indefinitely, we add a system call latency to advance the simulated
  # time when running non-blocking system calls
  model_unblocked_syscall_latency: true

network:
  graph:
    # use a built-in network graph containing
    # a single vertex with a bandwidth of 1 Gbit
    type: 1_gbit_switch

hosts:
  # a host with the hostname 'server'
  server:
    network_node_id: 0
    processes:
    - path: python3
      args: -m http.server 80
      start_time: 3s
      # tell shadow to expect this process to still be running at the end of the
      # simulation
      expected_final_state: running
  # three hosts with hostnames 'client1', 'client2', and 'client3' using a yaml
  # anchor to avoid duplicating the options for each host
  client1: &client_host
    network_node_id: 0
    processes:
    - path: curl
      args: -s server
      start_time: 5s
  client2: *client_host
  client3: *client_host
"""

# The example of https://shadow.github.io/docs/guide/shadow_config_spec.html, traced and captured.
TRACED = """\
general:
  stop_time: 2 min
  log_level: warning
experimental:
  strace_logging_mode: deterministic
  use_sched_fifo: true
  scheduler: thread-per-core
network:
  graph:
    type: gml
    inline: |
      graph [
        node [
          id 0
          host_bandwidth_down "140 Mbit"
          host_bandwidth_up "18 Mbit"
        ]
        edge [
          source 0
          target 0
          latency "50 ms"
          packet_loss 0.01
        ]
      ]
host_option_defaults:
  pcap_enabled: true
hosts:
  server:
    network_node_id: 0
    processes:
    - path: nginx
      args: -c ../../../nginx.conf -p .
      start_time: 1
      expected_final_state: running
  client1: &client_host
    network_node_id: 0
    host_options:
      log_level: debug
    processes:
    - path: curl
      args: server --silent
      start_time: 5
  client2: *client_host
  client3: *client_host
"""


@pytest.fixture
def programs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Put programs of the names that the examples use into PATH: they need not be installed here."""
    folder = tmp_path / "bin"
    folder.mkdir()
    for name in ("python3", "curl", "nginx"):
        (folder / name).symlink_to("/bin/sh")
    monkeypatch.setenv("PATH", str(folder), prepend=os.pathsep)
    return folder


def test_the_basic_file_transfer_of_shadow_is_read_as_it_is(write: Write, programs: Path) -> None:
    plan = make_plan(load_configuration(write(BASIC_FILE_TRANSFER)))
    assert [host.name for host in plan.hosts] == ["client1", "client2", "client3", "server"]
    assert plan.sections.general.model_unblocked_syscall_latency
    server = plan.hosts[3].processes[0]
    assert server.executable == programs / "python3"
    assert server.arguments == (str(programs / "python3"), "-m", "http.server", "80")
    assert server.start_time_ns == 3 * 10**9
    assert server.expected_final_state == FinalState("running")
    assert plan.hosts[0].processes[0].expected_final_state == FinalState("exited", 0)
    assert [str(IPv4Address(int(a))) for a in plan.directory.address] == [f"11.0.0.{n}" for n in range(1, 5)]
    assert plan.runahead_ns == 10**6
    assert plan.notes == ()


@pytest.mark.usefixtures("programs")
def test_the_traced_example_of_shadow_is_read_as_it_is(write: Write) -> None:
    plan = make_plan(load_configuration(write(TRACED)))
    assert plan.sections.experimental.strace_logging_mode == "deterministic"
    assert all(host.pcap_enabled for host in plan.hosts)
    assert [host.log_level for host in plan.hosts] == ["debug", "debug", "debug", None]
    assert plan.directory.uplink_bps.tolist() == [18 * 10**6] * 4
    assert plan.paths.between(0, 0)[1] == 0.01
    assert plan.hosts[3].processes[0].start_time_ns == 10**9
    assert plan.notes == ("accepted, without effect here: experimental.scheduler, experimental.use_sched_fifo",)


def test_merge_keys_and_extension_fields_are_read(write: Write) -> None:
    text = """\
        x-host: &host
          network_node_id: 0
          bandwidth_up: 1 Mbit
        x-anything: [1, {two: 3}]
        general: {stop_time: 1 h}
        network: {graph: {type: 1_gbit_switch}}
        hosts:
          a:
            <<: *host
            bandwidth_up: 2 Mbit
            processes:
            - &p
              path: sleep
              args: ['10', "a b"]
              environment: {B: "2", A: "1"}
            - <<: *p
              shutdown_time: 9s
              shutdown_signal: SIGKILL
              expected_final_state: {signaled: 9}
        """
    plan = make_plan(load_configuration(write(text)))
    assert plan.directory.uplink_bps.tolist() == [2 * 10**6]
    first, second = plan.hosts[0].processes
    assert first.arguments[1:] == second.arguments[1:] == ("10", "a b")
    assert first.environment == (("A", "1"), ("B", "2"))
    assert second.shutdown_time_ns == 9 * 10**9
    assert second.shutdown_signal == signal.SIGKILL
    assert str(second.expected_final_state) == "{signaled: SIGKILL}"


@pytest.mark.parametrize("compressed", [False, True])
def test_a_graph_file_is_found_from_the_working_directory_or_beside_the_configuration(
    compressed: bool, write: Write, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    graph = b'graph [ node [ id 3 host_bandwidth_up "1 Mbit" host_bandwidth_down "1 Mbit" ] ]'
    (tmp_path / "net").mkdir()
    (tmp_path / "net" / "g.gml").write_bytes(lzma.compress(graph) if compressed else graph)
    compression = "xz" if compressed else "null"
    path = write(
        "general: {stop_time: 1 s}\n"
        f"network: {{graph: {{type: gml, file: {{path: net/g.gml, compression: {compression}}}}}}}\n"
        "hosts: {a: {network_node_id: 3, processes: []}}\n"
    )
    for folder in (tmp_path, Path("/")):
        monkeypatch.chdir(folder)
        assert make_plan(load_configuration(path)).paths.node_ids == (3,)


def test_a_damaged_xz_file_is_told(write: Write, tmp_path: Path) -> None:
    (tmp_path / "g.gml.xz").write_bytes(b"not xz")
    path = write(
        "general: {stop_time: 1 s}\n"
        "network: {graph: {type: gml, file: {path: g.gml.xz, compression: xz}}}\n"
        "hosts: {a: {network_node_id: 3, processes: []}}\n"
    )
    with pytest.raises(Exception, match=r"2: network\.graph\.file\.path: the graph cannot be read"):
        make_plan(load_configuration(path))


def test_programs_are_found_by_path_by_name_and_relative_to_the_working_directory(
    write: Write, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    script = tmp_path / "script"
    script.write_text("#!/bin/sh\n")
    script.chmod(0o755)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", str(tmp_path))
    text = """\
        general: {stop_time: 1 s}
        network: {graph: {type: 1_gbit_switch}}
        hosts:
          a:
            network_node_id: 0
            processes: [{path: ./script}, {path: ~/script}, {path: sh}, {path: /bin/sh}]
        """
    plan = make_plan(load_configuration(write(text)))
    found = [process.executable for process in plan.hosts[0].processes]
    assert found[:2] == [script, script]
    assert found[2].name == "sh"
    assert found[2].is_absolute()
    assert found[3] == Path("/bin/sh")


def test_overrides_replace_what_the_file_says(write: Write) -> None:
    text = """\
        general: {stop_time: 1 s, seed: 3}
        network: {graph: {type: 1_gbit_switch}}
        hosts: {a: {network_node_id: 0, processes: []}}
        """
    sections = load_configuration(write(text), seed=2**63, stop_time="5 min", strace_logging_mode="standard").sections
    assert sections.general.seed == 2**63
    assert sections.general.stop_time == 300 * 10**9
    assert sections.experimental.strace_logging_mode == "standard"
    assert load_configuration(write(text)).sections.general.seed == 3


@pytest.mark.parametrize(
    ("asked", "window_ns", "notes"), [("1 ms", 10**6, 0), ("400 us", 400_000, 0), ("2 ms", 10**6, 1)]
)
def test_a_window_is_never_longer_than_the_smallest_latency(
    asked: str, window_ns: int, notes: int, write: Write
) -> None:
    text = f"""\
        general: {{stop_time: 1 s}}
        experimental: {{runahead: {asked}}}
        network: {{graph: {{type: 1_gbit_switch}}}}
        hosts: {{a: {{network_node_id: 0, processes: []}}}}
        """
    plan = make_plan(load_configuration(write(text)))
    assert plan.runahead_ns == window_ns
    assert len(plan.notes) == notes


def test_a_population_lives_where_the_configuration_says(write: Write) -> None:
    text = """\
        general: {stop_time: 1 s}
        network:
          graph:
            type: gml
            inline: |
              graph [
                node [ id 4 ]
                node [ id 9 ]
                edge [ source 4 target 9 latency "20 ms" ]
                edge [ source 4 target 4 latency "2 ms" ]
                edge [ source 9 target 9 latency "3 ms" ]
              ]
        cold:
          populations:
            tail:
              count: 10
              regions: {4: 1, 9: 4.0}
              bandwidth:
              - {share: 1, up: 50 Mbit, down: 60 Mbit}
              addresses: 10.1.0.0/16
          gossip: {validation_delay: 3 ms}
          publications:
          - {topic: 1, time: 0.5 s, size: 1 KB, origin: 9}
        """
    plan = make_plan(load_configuration(write(text)))
    assert plan.directory.node.tolist() == [0] * 2 + [1] * 8
    assert plan.directory.uplink_bps.tolist() == [50 * 10**6] * 10
    assert str(IPv4Address(plan.directory.populations[0].first_address)) == "10.1.0.0"
    assert plan.sections.cold is not None
    assert plan.sections.cold.gossip.validation_delay.bounds() == (3 * 10**6, 3 * 10**6)
    assert plan.sections.cold.publications[0].size.bounds() == (1000, 1000)
