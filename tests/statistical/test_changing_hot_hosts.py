"""What hot hosts see of coarse topics in networks that change, beside exact ones of the same network."""

import numpy as np
import numpy.typing as npt
import pytest

from benchmarks.changing_hot_hosts import IDENTITIES, PUSHED_MS, STOP, Seen, measure
from benchmarks.changing_resolutions import CASES, COARSE
from cold.resolution_section import Resolution
from tests.statistical.pictures import draw_curves

pytestmark = pytest.mark.statistical


def _sorted_ms(delays: npt.NDArray[np.float64]) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
    return np.sort(delays), np.linspace(0, 1, len(delays))


@pytest.fixture(scope="module", params=CASES)
def seen(request: pytest.FixtureRequest) -> dict[Resolution, Seen]:
    result = {level: measure(str(request.param), level.written) for level in Resolution}
    draw_curves(
        f"changing-hot-hosts-{request.param.replace(' ', '-')}",
        f"first copies at hot hosts beside {IDENTITIES} identities: {request.param}",
        "delay [ms]",
        "share of messages",
        {level.written: _sorted_ms(found.tails) for level, found in result.items()},
    )
    return result


@pytest.mark.parametrize("level", COARSE)
def test_what_is_said_of_links_is_the_same(seen: dict[Resolution, Seen], level: Resolution) -> None:
    for kind in ("HELLO", "LEAVE", "GRAFT", "PRUNE"):
        assert seen[level].kinds.get(kind, 0) == seen[Resolution.EXACT].kinds.get(kind, 0), kind


@pytest.mark.parametrize("level", COARSE)
def test_as_many_messages_and_copies_come(seen: dict[Resolution, Seen], level: Resolution) -> None:
    exact, coarse = seen[Resolution.EXACT], seen[level]
    assert coarse.kinds["MESSAGE"] == pytest.approx(exact.kinds["MESSAGE"], rel=0.04)
    assert len(coarse.tails) == pytest.approx(len(exact.tails), rel=0.04)
    assert len(coarse.hosts) == pytest.approx(len(exact.hosts), abs=2)


@pytest.mark.parametrize("level", COARSE)
@pytest.mark.parametrize("which", ["tails", "hosts"])
def test_first_copies_come_when_exact_ones_do(seen: dict[Resolution, Seen], level: Resolution, which: str) -> None:
    """Of those that come while the message is pushed. As there are few paths between regions, medians jump.

    So the distance is that of Wasserstein, the mean difference of quantiles. Messages of hosts are few, and enter at
    eight identities.
    """
    exact, coarse = (getattr(seen[each], which) for each in (Resolution.EXACT, level))
    levels = np.linspace(2, 98, 97)
    exact, coarse = exact[exact < PUSHED_MS], coarse[coarse < PUSHED_MS]
    distance = np.abs(np.percentile(exact, levels) - np.percentile(coarse, levels)).mean()
    assert distance < (0.15 if which == "tails" else 0.17) * exact.mean()


@pytest.mark.parametrize("level", COARSE)
def test_hosts_messages_reach_as_many(seen: dict[Resolution, Seen], level: Resolution) -> None:
    reached = {}
    for each in (Resolution.EXACT, level):
        table = seen[each].table
        own = table[table["origin"] == 0]
        assert (own["publish_time_ns"] < STOP).all()
        reached[each] = own["delivered"].mean()
    assert reached[level] == pytest.approx(reached[Resolution.EXACT], rel=0.06)
