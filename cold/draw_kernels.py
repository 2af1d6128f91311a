"""What an identity draws for itself, whatever for."""

# To the type checker an element of an array is Any, and a numpy integer no int.
# mypy: disable-error-code="no-any-return, return-value"

from typing import Final

from bridge.rng import Purpose, philox4x32
from cold.jit import kernel, uint64
from cold.state_kernels import WORD, Parameters

_PACKET_LOSS: Final = int(Purpose.PACKET_LOSS)
_WORD_BITS: Final = uint64(32)
_UNIFORM_SHIFT: Final = uint64(11)
_UNIFORM_SCALE: Final = 2.0**-53


@kernel
def draw_words(parameters: Parameters, entity: int, purpose: int, counter: int) -> tuple[int, int, int, int]:
    """Four random 32-bit words."""
    wide = uint64(counter)
    w0, w1, w2, w3 = philox4x32(
        wide & uint64(WORD),
        wide >> _WORD_BITS,
        uint64(entity),
        uint64(purpose),
        parameters.key_0,
        parameters.key_1,
    )
    return w0, w1, w2, w3


@kernel
def is_lost(parameters: Parameters, source: int, counter: int, probability: float) -> bool:
    """Draw the loss of a packet."""
    words = draw_words(parameters, source, _PACKET_LOSS, counter)
    bits = uint64(words[0]) | uint64(words[1]) << _WORD_BITS
    return bool((bits >> _UNIFORM_SHIFT) * _UNIFORM_SCALE < probability)
