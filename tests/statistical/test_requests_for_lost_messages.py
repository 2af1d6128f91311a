"""How many IWANTs the loss of packets brings about, beside what theory says."""

import numpy as np
import numpy.typing as npt
import pytest
from scipy import integrate, optimize, stats

from bridge.directory import BandwidthShare, ColdPlacement, build_directory
from bridge.paths import PathTable
from bridge.simtime import NS_PER_S
from cold.engine import ColdEngine
from cold.scenario import Scenario
from cold.section import ColdSection
from tests.statistical.pictures import draw_curves

pytestmark = pytest.mark.statistical

IDENTITIES, PEERS, D, LAZY, BEATS, HEARTBEAT = 8000, 40, 4, 6, 3, 200
BATCHES, MESSAGES = 8, 100
#: So short beside a heartbeat that hardly any IHAVE comes before the pushes.
LATENCY_NS = 200_000
LOSSES = (0.1, 0.2, 0.3)
CONFIDENCE = 0.99


def missed(loss: float) -> tuple[float, float]:
    """Probability that no push reaches an identity at first, and that then a given mesh peer has not got it either.

    The cavity equations of a random D-regular mesh: a peer of an identity without the message got it from one of its
    other D - 1 with probability 1 - y, and its push is lost with probability p; so y = (1 - (1 - p) (1 - y))^(D - 1),
    and the identity misses all D with the power D of the same.
    """
    y = float(optimize.brentq(lambda y: (1 - (1 - loss) * (1 - y)) ** (D - 1) - y, 0, 0.5))
    silent = 1 - (1 - loss) * (1 - y)
    return silent**D, y / silent


def asked(loss: float) -> float:
    """Mean number of IWANTs of an identity that misses a message.

    Each of the n = PEERS - D peers outside its mesh tells LAZY of its own at `BEATS` heartbeats; so in a part f of a
    heartbeat no IHAVE comes with probability (1 - f q)^n, q = (1 - p) LAZY / n. The identity asks once between two
    heartbeats of its own, which cut the three into parts of u, 1, 1 and 1 - u; and with the probability (1 - p)² both
    IWANT and answer arrive, so that it need not ask again. Nor need it where one of its mesh peers, which missed the
    message too, gets it before and pushes it: that is solved for on a grid of time, as all fare alike.
    """
    outside, steps = PEERS - D, 300
    chance, answered = (1 - loss) * LAZY / outside, (1 - loss) ** 2
    u = (np.arange(40)[:, None] + 0.5) / 40
    t = np.arange(BEATS * steps + 1) / steps
    begin = np.where(t < u, 0.0, u + np.floor(t - u))
    first = 1 - (1 - np.minimum(u, 1.0) * chance) ** outside
    whole = 1 - (1 - chance) ** outside
    # Still asking when the part of t began, and asked in it before t.
    before = np.where(t < u, 1.0, (1 - first * answered) * (1 - whole * answered) ** np.maximum(np.floor(t - u), 0))
    told = 1 - (1 - (t - begin) * chance) ** outside
    alone = (before * (1 - told * answered)).mean(axis=0)
    _, late = missed(loss)
    lacking = np.ones_like(t)
    for _ in range(100):
        lacking = alone * (1 - late * (1 - loss) * (1 - lacking)) ** (D - 1)
    spared = (1 - late * (1 - loss) * (1 - lacking)) ** D
    rate = outside * chance * (1 - (t - begin) * chance) ** (outside - 1)
    return float(integrate.trapezoid((before * rate * spared).mean(axis=0), t))


def requests(loss: float) -> npt.NDArray[np.float64]:
    """IWANTs for an identity and message, of each batch of messages."""
    paths = PathTable((0,), np.array([[LATENCY_NS]]), np.array([[loss]]), LATENCY_NS)
    share = BandwidthShare(1.0, 10**10, 10**10)
    directory = build_directory([], [ColdPlacement("tail", IDENTITIES, ((0, 1.0),), (share,))])
    times = [2 * HEARTBEAT * (3 * batch + 1) for batch in range(BATCHES)]
    section = ColdSection.model_validate(
        {
            "populations": {"tail": {"count": IDENTITIES}},
            "overlay": {"degree": PEERS},
            "gossip": {
                "d": D,
                "d_low": 1,
                "d_lazy": LAZY,
                "heartbeat": f"{HEARTBEAT} s",
                "mcache_gossip": BEATS,
                "mcache_length": BEATS + 2,
                "seen_ttl": f"{6 * HEARTBEAT} s",
            },
            "publications": [
                {"topic": 1, "time": f"{time} s", "count": MESSAGES, "interval": "0 s", "size": 100} for time in times
            ],
        }
    )
    engine = ColdEngine(Scenario(section, directory, 5, 6 * HEARTBEAT * BATCHES * NS_PER_S), paths)
    sent = [0]
    for time in times:
        engine.run_until((time + 4 * HEARTBEAT) * NS_PER_S)
        sent.append(engine.counters()["iwant_sent"])
    return np.diff(sent) / (IDENTITIES * MESSAGES)


def test_requests_grow_with_the_loss_as_theory_says() -> None:
    """Interval of Student's t of 99 % for the mean over eight batches of 100 messages, within 4 % of theory."""
    found = {loss: requests(loss) for loss in LOSSES}
    means = np.array([values.mean() for values in found.values()])
    grid = np.linspace(0.05, 0.35, 60)
    draw_curves(
        "requests-and-loss",
        f"IWANT against loss, D {D}, D_lazy {LAZY}",
        "loss of packets",
        "log10 of the IWANTs for an identity and message",
        {
            "theory": (grid, np.log10([missed(loss)[0] * asked(loss) for loss in grid])),
            "exact": (np.array(LOSSES), np.log10(means)),
        },
    )
    for loss, values in found.items():
        theory = missed(loss)[0] * asked(loss)
        low, high = stats.t.interval(CONFIDENCE, BATCHES - 1, loc=values.mean(), scale=stats.sem(values))
        assert low < 1.04 * theory
        assert high > 0.96 * theory
        assert high - low < 0.5 * theory
