"""The counter-based generator: known answers, and that all its forms are one function."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bridge.rng import (
    Purpose,
    draw_u64,
    draw_u64_array,
    draw_uniform,
    draw_uniform_array,
    philox4x32,
)

u32 = st.integers(0, 2**32 - 1)
u64 = st.integers(0, 2**64 - 1)

# From Random123's kat_vectors: counter words, key words, output words.
KNOWN_ANSWERS = [
    ((0,) * 4, (0,) * 2, (0x6627E8D5, 0xE169C58D, 0xBC57AC4C, 0x9B00DBD8)),
    ((0xFFFFFFFF,) * 4, (0xFFFFFFFF,) * 2, (0x408F276D, 0x41C83B0E, 0xA20BC7C6, 0x6D5451FD)),
    (
        (0x243F6A88, 0x85A308D3, 0x13198A2E, 0x03707344),
        (0xA4093822, 0x299F31D0),
        (0xD16CFE09, 0x94FDCCEB, 0x5001E420, 0x24126EA1),
    ),
]


def philox_in_plain_python(counter: tuple[int, ...], key: tuple[int, ...]) -> tuple[int, ...]:
    """The definition, on unbounded integers."""
    c0, c1, c2, c3 = counter
    k0, k1 = key
    for _ in range(10):
        product_0, product_1 = 0xD2511F53 * c0, 0xCD9E8D57 * c2
        c0, c1 = (product_1 >> 32) ^ c1 ^ k0, product_1 & 0xFFFFFFFF
        c2, c3 = (product_0 >> 32) ^ c3 ^ k1, product_0 & 0xFFFFFFFF
        k0, k1 = (k0 + 0x9E3779B9) & 0xFFFFFFFF, (k1 + 0xBB67AE85) & 0xFFFFFFFF
    return c0, c1, c2, c3


@pytest.mark.parametrize(("counter", "key", "expected"), KNOWN_ANSWERS)
def test_known_answers_of_random123(
    counter: tuple[int, int, int, int], key: tuple[int, int], expected: tuple[int, ...]
) -> None:
    assert list(philox4x32(*counter, *key)) == list(expected)


@given(st.tuples(u32, u32, u32, u32), st.tuples(u32, u32))
def test_the_compiled_form_is_the_definition(counter: tuple[int, int, int, int], key: tuple[int, int]) -> None:
    expected = philox_in_plain_python(counter, key)
    assert list(philox4x32(*counter, *key)) == list(expected)


@given(u64, u32, st.sampled_from(Purpose), u64)
def test_a_draw_places_its_arguments_in_key_and_counter(seed: int, entity: int, purpose: Purpose, counter: int) -> None:
    w0, w1, _, _ = philox_in_plain_python(
        (counter & 0xFFFFFFFF, counter >> 32, entity, purpose), (seed & 0xFFFFFFFF, seed >> 32)
    )
    expected = w0 | (w1 << 32)
    assert draw_u64(seed, entity, purpose, counter) == expected
    assert draw_u64_array(seed, entity, purpose, counter) == expected
    uniform = (expected >> 11) * 2.0**-53
    assert draw_uniform(seed, entity, purpose, counter) == uniform
    assert draw_uniform_array(seed, entity, purpose, counter) == uniform
    assert 0.0 <= uniform < 1.0


@pytest.mark.parametrize("kind", [np.int64, np.uint64, np.int32, np.uint32])
def test_the_width_and_sign_of_an_argument_do_not_matter(kind: type[np.signedinteger]) -> None:
    expected = draw_u64(7, 11, 2, 13)
    assert draw_u64(kind(7), kind(11), kind(2), kind(13)) == expected


def test_array_draws_broadcast() -> None:
    entities = np.arange(3)[:, np.newaxis]
    counters = np.arange(4)
    draws = draw_u64_array(5, entities, Purpose.KERNEL, counters)
    assert draws.shape == (3, 4)
    assert draws[2, 3] == draw_u64(5, 2, Purpose.KERNEL, 3)
    assert len(np.unique(draws)) == draws.size
