"""The member of benchmarks/apps/phold.c, in Python with asyncio: several messages may be held at once.

python phold_asyncio.py MEMBERS SELF SECONDS MEAN_US
"""

from __future__ import annotations

import asyncio
import random
import sys
from pathlib import Path
from typing import cast


class Member(asyncio.DatagramProtocol):
    """Holds what comes for a random time and sends it on to a random member."""

    def __init__(self, members: list[tuple[str, int]], seed: int, mean_s: float) -> None:
        self.members = members
        self.draws = random.Random(seed)
        self.mean_s = mean_s
        self.sent = 0

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Begin with a message of its own."""
        # Not asserted: the selector's own transport does not inherit from it.
        self.transport = cast(asyncio.DatagramTransport, transport)
        self.hold(bytes(64))

    def datagram_received(self, data: bytes, addr: object) -> None:
        """Hold it, whoever it is from."""
        del addr
        self.hold(data)

    def hold(self, data: bytes) -> None:
        """Send it on, later."""
        hold = self.draws.expovariate(1 / self.mean_s)
        asyncio.get_running_loop().call_later(hold, self.send_on, data)

    def send_on(self, data: bytes) -> None:
        """Send it to a member, perhaps to itself; what is held when the time is up stays here."""
        if self.transport.is_closing():
            return
        self.transport.sendto(data, self.draws.choice(self.members))
        self.sent += 1


async def main() -> None:
    """Take part for a while, then say how many messages were sent."""
    lines = [line.split() for line in Path(sys.argv[1]).read_text().splitlines()]
    members = [(address, int(port)) for address, port in lines]
    self, seconds, mean_us = (int(argument) for argument in sys.argv[2:5])
    member = Member(members, self, mean_us * 1e-6)
    transport, _ = await asyncio.get_running_loop().create_datagram_endpoint(lambda: member, members[self])
    await asyncio.sleep(seconds)
    transport.close()
    print(member.sent)


asyncio.run(main())
