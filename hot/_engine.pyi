"""What hot/engine/binding.c offers."""

from collections.abc import Callable
from typing import Any, final

import numpy.typing as npt

class EngineError(RuntimeError): ...

@final
class Engine:
    def __init__(
        self,
        *,
        shim: str,
        seed: int,
        bootstrap_end: int,
        turn_limit: int,
        strace_mode: int,
        model_cpu: bool,
        call_cost: int,
        max_unapplied_cpu: int,
        send_buffer: int,
        receive_buffer: int,
        send_autotune: bool,
        receive_autotune: bool,
        round_robin: bool,
    ) -> None: ...
    @property
    def events_executed(self) -> int: ...
    @property
    def fingerprint(self) -> int: ...
    @property
    def min_used_latency(self) -> int: ...
    def add_host(
        self,
        *,
        host_id: int,
        name: str,
        address: int,
        address6: bytes,
        directory: bytes,
        etc_directory: bytes,
        real_names: bytes,
        uplink_bps: int,
        downlink_bps: int,
        capture_path: bytes,
        capture_size: int,
    ) -> int: ...
    def add_process(
        self,
        *,
        host: int,
        path: bytes,
        name: bytes,
        arguments: list[bytes],
        environment: list[bytes],
        start_time: int,
        shutdown_time: int,
        shutdown_signal: int,
        user: int,
        group: int,
    ) -> None: ...
    def set_routes(
        self,
        *,
        addresses: npt.NDArray[Any],
        address_ids: npt.NDArray[Any],
        range_first: npt.NDArray[Any],
        range_size: npt.NDArray[Any],
        range_first_id: npt.NDArray[Any],
        prefix6: bytes,
        exceptions6: bytes,
        exception6_ids: npt.NDArray[Any],
        node_of_host: npt.NDArray[Any],
        node_count: int,
        find_path: Callable[[int, int], tuple[int, float]],
    ) -> None: ...
    def next_event_time(self) -> int: ...
    def run_until(
        self, window_end: int, /
    ) -> tuple[bytearray, bytearray, bytearray, bytearray, bytearray, bytearray] | None: ...
    def run_windows(
        self, start: int, runahead: int, stop: int, others: int, /
    ) -> tuple[
        bytearray, tuple[bytearray, bytearray, bytearray, bytearray, bytearray, bytearray] | None, BaseException | None
    ]: ...
    def deliver(
        self,
        deliver_time: npt.NDArray[Any],
        source: npt.NDArray[Any],
        source_event: npt.NDArray[Any],
        destination: npt.NDArray[Any],
        payload_offset: npt.NDArray[Any],
        payload: npt.NDArray[Any],
        /,
    ) -> None: ...
    def process_states(self) -> list[tuple[int, int, int, tuple[str, int]]]: ...
    def process_groups(self) -> list[tuple[int, int]]: ...
    def traffic(self, host: int, /) -> bytearray: ...
    def counters(self, host: int, /) -> dict[str, int]: ...
    def take_warnings(self) -> list[tuple[int, int, str]]: ...
    def close(self) -> None: ...
