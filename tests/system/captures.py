"""Capture files, read by a library that others wrote."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Final

from scapy.utils import RawPcapReader

EPOCH_S: Final = 946_684_800
_FILE_HEADER_BYTES: Final = 24
_RECORD_HEADER_BYTES: Final = 16


@dataclass(frozen=True)
class Packet:
    """One record of a capture: nanoseconds since the start, what was captured, and how long the packet was."""

    time_ns: int
    content: bytes
    length: int


@dataclass(frozen=True)
class Capture:
    """A capture file: the type of its link (LINKTYPE_), how much of a packet it holds at most, and its packets."""

    link_type: int
    snapshot_bytes: int
    packets: list[Packet]


def read_capture(path: Path) -> Capture:
    """Read a capture with times in nanoseconds, to its last byte."""
    with RawPcapReader(str(path)) as reader:
        assert reader.nano
        packets = [
            Packet((about.sec - EPOCH_S) * 10**9 + about.usec, content, about.wirelen) for content, about in reader
        ]
        held = sum(_RECORD_HEADER_BYTES + len(packet.content) for packet in packets)
        assert _FILE_HEADER_BYTES + held == path.stat().st_size  # the library is silent about half a record
        return Capture(reader.linktype, reader.snaplen, packets)
