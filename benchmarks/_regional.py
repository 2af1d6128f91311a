"""The network of benchmarks of the tail: identities over the eight regions of configs/topologies/regional.gml."""

from pathlib import Path

from bridge.directory import BandwidthShare, ColdPlacement, HostDirectory, build_directory
from bridge.graph import parse_gml
from bridge.paths import Paths, PathTable

_GRAPH = Path(__file__).parent.parent / "configs" / "topologies" / "regional.gml"
_WEIGHTS = (290.0, 5599.0, 1059.0, 161.0, 2894.0, 1240.0, 47.0, 36.0)


def regional_network(identities: int) -> tuple[HostDirectory, PathTable]:
    """A directory of so many identities, a fifth of them with 1,024 Mbit/s and the others with 50, and their paths."""
    graph = parse_gml(_GRAPH.read_text())
    fast, slow = BandwidthShare(0.2, 1_024_000_000, 1_024_000_000), BandwidthShare(0.8, 50_000_000, 50_000_000)
    directory = build_directory([], [ColdPlacement("tail", identities, tuple(enumerate(_WEIGHTS)), (fast, slow))])
    return directory, Paths(graph, list(graph.nodes)).table()
