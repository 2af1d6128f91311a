"""Fuzz target for the decoder of event batches.

Whatever it accepts must encode to the same bytes again; whatever it refuses, it must refuse with an error that names a
byte of the input. Anything else ends the run with a traceback and the input.

    python -m tests.fuzz.fuzz_event_batch 100000 [SEED]    so many mutations of valid encodings, always the same
    python -m tests.fuzz.fuzz_event_batch -- FILE...       replay inputs
    python -m tests.fuzz.fuzz_event_batch --coverage FOLDER [OPTIONS]
                                                           libFuzzer's search, led by coverage (needs atheris: pip
                                                           install 'antumbra[fuzz]'), with its options, for instance
                                                           -max_total_time=600; new inputs go into FOLDER

The corpus beside it, one small file for each shape of batch, is where all of them begin.
"""

from __future__ import annotations

import random
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from bridge.batch import DecodeError, EventBatch

CORPUS: Final = Path(__file__).parent / "corpus" / "event_batch"

#: Numbers at the borders of the fields' types, in the fields' sizes.
_BORDERS: Final = [
    value.to_bytes(size, "big")
    for size in (2, 4, 8)
    for value in (0, 1, 2**15, 2 ** (8 * size - 1) - 1, 2 ** (8 * size - 1), 2 ** (8 * size) - 1)
]


def check(data: bytes) -> bool:
    """Decode one input; return whether it was accepted."""
    try:
        batch = EventBatch.decode(data)
    except DecodeError as refusal:
        if not 0 <= refusal.offset <= len(data):
            raise AssertionError(f"byte {refusal.offset} of {len(data)} is blamed: {refusal}") from refusal
        return False
    if batch.encode() != data:
        raise AssertionError("an accepted batch does not encode to itself")
    # Who decodes goes on to look at the events: nothing may point out of the payload.
    if b"".join(map(batch.payload_of, range(len(batch)))) != batch.payload.tobytes():
        raise AssertionError("payloads do not follow each other")
    return True


def mutated(data: bytes, draw: random.Random) -> bytes:
    """Damage an encoding in one to four places: bits, whole fields, lengths, order, and the number of events."""
    bytes_ = bytearray(data)
    for _ in range(draw.randint(1, 4)):
        place = draw.randrange(len(bytes_) + 1)
        match draw.randrange(6):
            case 0 if place < len(bytes_):
                bytes_[place] ^= 1 << draw.randrange(8)
            case 1:
                border = draw.choice(_BORDERS)
                bytes_[place : place + len(border)] = border
            case 2:
                del bytes_[place : place + draw.choice((1, 4, 8, 30))]
            case 3:
                bytes_[place:place] = bytes_[: draw.choice((1, 4, 8, 30))]
            case 4:
                size = draw.choice((2, 4, 8))
                other = draw.randrange(len(bytes_) + 1)
                bytes_[place : place + size], bytes_[other : other + size] = (
                    bytes_[other : other + size],
                    bytes_[place : place + size],
                )
            case _:
                # A count that fits again is what gets past the first check.
                events = draw.randrange(4)
                bytes_[8:16] = events.to_bytes(8, "big")
                bytes_[16:24] = max(len(bytes_) - 24 - 30 * events, 0).to_bytes(8, "big")
    return bytes(bytes_)


def run_mutations(count: int, seed: int) -> tuple[int, int]:
    """Check so many mutations of the corpus; return how many were accepted, and how many refused."""
    draw = random.Random(seed)
    corpus = [path.read_bytes() for path in sorted(CORPUS.iterdir())]
    accepted = 0
    for data in corpus:
        if not check(data):
            raise AssertionError("the corpus holds what is no batch")
    for _ in range(count):
        data = mutated(draw.choice(corpus), draw)
        try:
            accepted += check(data)
        except BaseException:
            print(f"input: {data.hex()}", file=sys.stderr)
            raise
    return accepted, count - accepted


def search(folder: str, options: Sequence[str]) -> None:
    """Let libFuzzer look for inputs, and keep what is new in a folder; it ends the process."""
    import atheris

    atheris.instrument_func(EventBatch.decode)
    for name in ("bridge.batch", "__main__"):
        for value in vars(sys.modules[name]).values():
            if callable(value) and getattr(value, "__module__", None) == name and hasattr(value, "__code__"):
                atheris.instrument_func(value)
    atheris.Setup([sys.argv[0], *options, folder, str(CORPUS)], check)
    atheris.Fuzz()


def main(arguments: Sequence[str]) -> None:
    """Run what the command line asks for."""
    match arguments:
        case ["--coverage", folder, *options] if Path(folder).is_dir():
            search(folder, options)
        case ["--", *files]:
            for file in files:
                print(file, "accepted" if check(Path(file).read_bytes()) else "refused")
        case [count, *seed] if count.isdigit() and len(seed) <= 1:
            accepted, refused = run_mutations(int(count), int(seed[0]) if seed else 1)
            print(f"{accepted} accepted, {refused} refused")
        case _:
            sys.exit("usage: fuzz_event_batch N [SEED] | -- FILE... | --coverage FOLDER [OPTIONS]")


if __name__ == "__main__":
    main(sys.argv[1:])
