"""The configuration sections that both sides stand on: `general`, `network` and `distributed`.

`Section` is what every room's sections derive from, so that all of them refuse unknown keys and never guess a
type.
"""

from __future__ import annotations

from ipaddress import IPv6Network
from typing import Annotated, Literal, Self

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, model_validator
from pydantic_core import PydanticCustomError

from bridge.ipv6 import DEFAULT_PREFIX, LONGEST_PREFIX, why_not_a_host
from bridge.units import Duration

LogLevel = Literal["error", "warning", "info", "debug", "trace"]


class Section(BaseModel):
    """A part of the configuration: strict types, no unknown keys, immutable once read."""

    model_config = ConfigDict(strict=True, extra="forbid", frozen=True)


class GeneralSection(Section):
    """`general`: what concerns the whole experiment. Times are kept as nanoseconds of simulated time."""

    stop_time: Duration = Field(gt=0)
    seed: int = Field(default=1, ge=0, lt=2**64)
    parallelism: int = Field(default=0, ge=0)
    bootstrap_end_time: Duration = 0
    log_level: LogLevel = "info"
    heartbeat_interval: Duration | None = 10**9
    data_directory: str = Field(default="antumbra.data", min_length=1)
    template_directory: str | None = None
    progress: bool = False
    model_unblocked_syscall_latency: bool = False


class GraphFile(Section):
    """`network.graph.file`: a GML file, possibly compressed."""

    path: str = Field(min_length=1)
    compression: Literal["xz"] | None = None


class GraphSection(Section):
    """`network.graph`: where the graph comes from."""

    type: Literal["gml", "1_gbit_switch"]
    inline: str | None = None
    file: GraphFile | None = None

    @model_validator(mode="after")
    def _exactly_one_source(self) -> Self:
        sources = (self.inline is not None) + (self.file is not None)
        if self.type == "gml" and sources != 1:
            raise PydanticCustomError(
                "graph_source", "a gml graph needs exactly one of 'inline' (its text) and 'file' (its path)"
            )
        if self.type != "gml" and sources:
            raise PydanticCustomError("graph_source", "a built-in graph takes neither 'inline' nor 'file'")
        return self


def _parse_prefix(value: object) -> IPv6Network:
    if isinstance(value, IPv6Network):
        return value
    try:
        if not isinstance(value, str):
            raise ValueError
        network = IPv6Network(value)
    except ValueError:
        raise PydanticCustomError(
            "prefix",
            "{value} is not an IPv6 prefix; write it as '2001:db8::/64', with zeros behind the prefix",
            {"value": repr(value)},
        ) from None
    if network.prefixlen > LONGEST_PREFIX:
        reason = f"it leaves no room for an IPv4 address: at most /{LONGEST_PREFIX}"
    else:
        reason = why_not_a_host(network.network_address)
    if reason:
        raise PydanticCustomError(
            "prefix", "{value} cannot be the prefix of hosts ({reason})", {"value": value, "reason": reason}
        )
    return network


Prefix = Annotated[IPv6Network, BeforeValidator(_parse_prefix)]


class NetworkSection(Section):
    """`network`: the graph, and how packets find their way through it."""

    graph: GraphSection
    use_shortest_path: bool = True
    ip6_prefix: Prefix = DEFAULT_PREFIX
    """Ours, not Shadow's: where the hosts' IPv6 addresses come from, see `bridge.ipv6`."""


class DistributedSection(Section):
    """`distributed`: how the experiment is spread over shards.

    The number of shards may also come from the command line, or be that of an MPI world; a launcher numbers the
    shards, so `shard_id` can only be that of the one shard which the configuration speaks for.
    """

    enabled: bool = False
    shard_id: int = Field(default=0, ge=0)
    num_shards: int = Field(default=1, ge=1)
    partition_file: str | None = None
    peer_timeout: Duration = Field(default=300 * 10**9, gt=0)
    """Ours: wall-clock time for which shards wait for one that is stopped, or, over MPI, does not come."""
    start_timeout: Duration = Field(default=300 * 10**9, gt=0)
    """Ours: wall-clock time for which MPI ranks wait for all of them to have started."""

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        if self.num_shards > 1 and not self.enabled:
            raise PydanticCustomError(
                "not_enabled",
                "{shards} shards are asked for; say 'enabled: true' beside it",
                {"shards": self.num_shards},
            )
        if self.shard_id != 0:
            raise PydanticCustomError(
                "shard_id", "shard_id is given by the launcher (--shards or mpiexec): leave it out"
            )
        return self
