"""The slow twin of `cold.dialing`: sets of connections, and everything by the words of docs/models.md."""

from bridge.rng import draw_u64
from cold.dialing import Dialing
from cold.purposes import ColdPurpose

WORD = 0xFFFFFFFF


class DialingTwin:
    """Who dialled whom, after all rounds: `dialled[i]` in the order of dialling."""

    def __init__(self, dialing: Dialing, seed: int, first_id: int) -> None:
        self.seed, self.first_id = seed, first_id
        self.target, self.maximum, self.outbound = (column.tolist() for column in dialing.wishes)
        self.candidates = [i for i, reachable in enumerate(dialing.is_reachable.tolist()) if reachable]
        self.count = len(self.target)
        self.dialled: list[list[int]] = [[] for _ in range(self.count)]
        for number in range(dialing.rounds):
            if number:
                self.prune(number)
            keys = [self.draw(identity, ColdPurpose.DIAL_ORDER, number) for identity in range(self.count)]
            for identity in sorted(range(self.count), key=lambda identity: keys[identity]):
                self.dial(identity, number)

    def draw(self, identity: int, purpose: ColdPurpose, counter: int) -> int:
        return int(draw_u64(self.seed, self.first_id + identity, int(purpose), counter))

    def diallers(self, identity: int) -> list[int]:
        return [other for other in range(self.count) if identity in self.dialled[other]]

    def degree(self, identity: int) -> int:
        return len(self.dialled[identity]) + len(self.diallers(identity))

    def dial(self, identity: int, number: int) -> None:
        own = self.dialled[identity]
        wanted = max(self.target[identity] - self.degree(identity), self.outbound[identity] - len(own), 0)
        for attempt in range(4 * wanted if self.candidates else 0):
            degree = self.degree(identity)
            if degree >= self.maximum[identity]:
                return
            if degree >= self.target[identity] and len(own) >= self.outbound[identity]:
                return
            word = self.draw(identity, ColdPurpose.DIAL, number << 32 | attempt // 2)
            half = word >> 32 if attempt % 2 else word & WORD
            peer = self.candidates[half * len(self.candidates) >> 32]
            if peer == identity or peer in own or identity in self.dialled[peer]:
                continue
            if self.degree(peer) < self.maximum[peer]:
                own.append(peer)

    def prune(self, number: int) -> None:
        closed = set()
        for identity in range(self.count):
            own = [(identity, peer) for peer in self.dialled[identity]]
            places = own + [(other, identity) for other in self.diallers(identity)]
            excess, left = len(places) - self.target[identity], len(own)
            for turn in range(len(places)):
                if excess <= 0:
                    break
                word = self.draw(identity, ColdPurpose.PRUNE_CONNECTION, number << 32 | turn) & WORD
                pick = turn + (word * (len(places) - turn) >> 32)
                places[turn], places[pick] = places[pick], places[turn]
                if places[turn][0] == identity:
                    if left <= self.outbound[identity]:
                        continue
                    left -= 1
                closed.add(places[turn])
                excess -= 1
        for identity in range(self.count):
            self.dialled[identity] = [peer for peer in self.dialled[identity] if (identity, peer) not in closed]
