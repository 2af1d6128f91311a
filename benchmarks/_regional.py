"""The network of benchmarks: hosts and identities over the eight regions of configs/topologies/regional.gml."""

from pathlib import Path
from typing import Final

from bridge.directory import BandwidthShare, ColdPlacement, HostDirectory, build_directory
from bridge.graph import NetworkGraph, parse_gml
from bridge.paths import Paths, PathTable

_GRAPH = Path(__file__).parent.parent / "configs" / "topologies" / "regional.gml"
#: Where identities live: the shares of the quickstart.
WEIGHTS: Final = (290.0, 5599.0, 1059.0, 161.0, 2894.0, 1240.0, 47.0, 36.0)


def regional_graph() -> NetworkGraph:
    """The regions, and what is between them."""
    return parse_gml(_GRAPH.read_text())


def regional_network(identities: int) -> tuple[HostDirectory, PathTable]:
    """A directory of so many identities, a fifth of them with 1,024 Mbit/s and the others with 50, and their paths."""
    graph = regional_graph()
    fast, slow = BandwidthShare(0.2, 1_024_000_000, 1_024_000_000), BandwidthShare(0.8, 50_000_000, 50_000_000)
    directory = build_directory([], [ColdPlacement("tail", identities, tuple(enumerate(WEIGHTS)), (fast, slow))])
    return directory, Paths(graph, list(graph.nodes)).table()
