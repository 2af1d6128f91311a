"""The slow twin of `cold.sessions`: one identity's life, told from its beginning."""

from collections.abc import Iterator
from typing import NamedTuple

from bridge.directory import HostDirectory
from bridge.rng import draw_u64, draw_uniform
from cold.distributions import LARGEST
from cold.failure_section import CrashFailure
from cold.purposes import ColdPurpose
from cold.section import ColdSection
from tests.cold import quantile_twin

SECOND = 10**9


class Interval(NamedTuple):
    begin: int
    end: int
    is_up: bool
    is_silent: bool
    """Whether it is a session that ends without notice."""


class LivesTwin:
    def __init__(self, section: ColdSection, directory: HostDirectory, node_ids: tuple[int, ...], seed: int) -> None:
        self.section, self.directory, self.node_ids, self.seed = section, directory, node_ids, seed
        self.crashes = [failure for failure in section.failures if isinstance(failure, CrashFailure)]
        self.crashes.sort(key=lambda crash: crash.time)

    def concerns(self, crash: int, host: int) -> bool:
        failure = self.crashes[crash]
        node = self.node_ids[self.directory.node[host]]
        if failure.regions is not None and node not in failure.regions:
            return False
        return draw_uniform(self.seed, host, int(ColdPurpose.CRASH), crash) < failure.share

    def life(self, host: int) -> Iterator[Interval]:
        cold = next(c for c in self.directory.ranges if c.first_id <= host < c.first_id + c.count)
        churn = self.section.populations[cold.population].churn
        crashes = [
            (crash.time, LARGEST if crash.until is None else crash.until)
            for number, crash in enumerate(self.crashes)
            if self.concerns(number, host)
        ]

        def word(purpose: ColdPurpose, counter: int) -> int:
            return int(draw_u64(self.seed, host, int(purpose), counter))

        number, length = 0, LARGEST
        if churn is not None:
            up = max(churn.sessions.expectation(), SECOND)
            share = up / (up + max(churn.absences.expectation() + churn.dial, SECOND))
            is_up = draw_uniform(self.seed, host, int(ColdPurpose.SESSION_START), 0) < share
            number = 0 if is_up else 1
            table = (churn.sessions if is_up else churn.absences).length_biased_table()
            length = quantile_twin.draw(table, word(ColdPurpose.SESSION_START, 1))
        if length < LARGEST:
            length = length * (word(ColdPurpose.SESSION_START, 2) >> 32) >> 32
        begin = 0
        while True:
            end = begin + max(length, SECOND)
            if number % 2 == 0:
                crash = min((start for start, _ in crashes if begin < start < end), default=end)
                is_silent = any(start == crash for start, _ in crashes)
                notice = 1.0 if churn is None else churn.notice
                silent = is_silent or draw_uniform(self.seed, host, int(ColdPurpose.NOTICE), number) >= notice
                end = crash
                yield Interval(begin, end, True, silent)
            else:
                for start, until in crashes:
                    if start < end + SECOND and until > begin:
                        end = max(end, until)
                yield Interval(begin, end, False, False)
            begin, number = end, number + 1
            length = 0 if number % 2 else LARGEST
            if churn is not None:
                table = (churn.absences if number % 2 else churn.sessions).table()
                length = quantile_twin.draw(table, word(ColdPurpose.SESSION, number)) + number % 2 * churn.dial

    def intervals(self, host: int, end: int) -> list[Interval]:
        """The intervals of a life that begin before `end`."""
        result: list[Interval] = []
        for interval in self.life(host):
            if interval.begin >= end:
                return result
            result.append(interval)
        return result
