"""Which tokens make which step: every window of the text once an epoch, in an order that is computed, not remembered.

    batches = Batches(shards, "training", sequence=256, seed=1)
    indices = batches.order(step=7, batch=64)   # where the samples of step 7 begin, the same for any number of ranks
    inputs, targets = batches.samples(indices[rank::ranks])

A split is cut into windows of `sequence` tokens, from a start that is drawn anew for each epoch, so that borders lie
elsewhere each time. Their order is a permutation of the windows' numbers, keyed by seed and epoch: a Feistel network
over the next power of four, walked along until a number is in range (Black and Rogaway, "Ciphers with Arbitrary
Finite Domains", 2002), with splitmix64 (Steele, Lea and Flood, 2014) as its rounds. Nothing is kept between steps, so
going on is calling it again.
"""

from collections import deque
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any, Final, Generic, TypeVar

import numpy as np
from numpy.typing import NDArray

from freehold.errors import ConfigError
from freehold.training.data.shards import TokenShards

KeyT = TypeVar("KeyT")
ValueT = TypeVar("ValueT")

_ROUNDS: Final = 6
_MASK: Final = (1 << 64) - 1


class Order:
    """Numbers from 0 to `count`, each once an epoch, in an order that seed and epoch decide.

    Args:
        count: how many there are, from 1 to 2^62.
        seed: any whole number.
    """

    def __init__(self, count: int, seed: int) -> None:
        assert 1 <= count <= 1 << 62
        self.count = count
        self._seed = seed

    def at(self, positions: NDArray[np.int64]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """What stands at positions of the endless row of epochs: the epochs, and the numbers in them."""
        epochs, within = np.divmod(np.asarray(positions, np.int64), self.count)
        numbers = np.empty_like(within)
        for epoch in np.unique(epochs):
            there = epochs == epoch
            numbers[there] = permuted(within[there], self.count, key(self._seed, int(epoch)))
        return epochs, numbers


def permuted(numbers: NDArray[np.int64], count: int, word: int) -> NDArray[np.int64]:
    """Numbers below `count`, each mapped to another one by a permutation of all of them that `word` decides."""
    half = max(1, ((count - 1).bit_length() + 1) // 2)
    words = [_mixed(word + round_) for round_ in range(_ROUNDS)]
    result = numbers.astype(np.uint64)
    left = np.ones(len(result), bool)
    while left.any():
        result[left] = _feistel(result[left], half, words)
        left = result >= count
    return result.astype(np.int64)


def key(*parts: int) -> int:
    """64 bits that depend on each of the parts and on their order."""
    word = 0
    for part in parts:
        word = _mixed(word ^ _mixed(part & _MASK))
    return word


class Batches:
    """The samples of a split, by number.

    Args:
        shards: the tokens.
        split: "training" or "validation".
        sequence: tokens of a sample.
        seed: of the order and of where windows begin.

    Raises:
        ConfigError: the split has fewer tokens than one sample needs.
    """

    def __init__(self, shards: TokenShards, split: str, sequence: int, seed: int) -> None:
        self._shards = shards
        self._split = split
        self._sequence = sequence
        self._seed = seed
        tokens = shards.tokens(split)
        if tokens < sequence + 1:
            raise ConfigError(
                f"the data have {tokens} tokens for {split}, and one sample needs {sequence + 1}; "
                "give more text, or train with a shorter sequence"
            )
        self.windows = max(1, (tokens - sequence) // sequence)
        """Samples of an epoch."""
        self._slack = min(sequence - 1, tokens - 1 - self.windows * sequence)
        self._order = Order(self.windows, seed)

    def order(self, step: int, batch: int) -> NDArray[np.int64]:
        """Where the samples of a step begin, by the number of a token: [batch]."""
        first = step * batch
        epochs, windows = self._order.at(np.arange(first, first + batch, dtype=np.int64))
        starts = np.array([self._start(int(epoch)) for epoch in epochs], np.int64)
        return starts + windows * self._sequence

    def spread(self, count: int) -> NDArray[np.int64]:
        """Where at most so many samples begin that lie evenly over the split without overlapping: always the same."""
        windows = max(1, (self._shards.tokens(self._split) - 1) // self._sequence)
        count = min(count, windows)
        return np.arange(count, dtype=np.int64) * windows // count * self._sequence

    def samples(self, indices: NDArray[np.int64]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """The tokens from there on, and those that follow each of them: two arrays [n, sequence]."""
        inputs = np.empty((len(indices), self._sequence), np.int64)
        targets = np.empty_like(inputs)
        for row, start in enumerate(indices.tolist()):
            window = self._shards.read(self._split, start, self._sequence + 1)
            inputs[row] = window[:-1]
            targets[row] = window[1:]
        return inputs, targets

    def _start(self, epoch: int) -> int:
        return key(self._seed, epoch, 1) % (self._slack + 1)


class Ahead(Generic[KeyT, ValueT]):
    """Makes in a thread what will be asked for next, so that a training need not wait for it.

    What is given depends on the key alone. Who asks for another key than the one that follows, after a step back for
    instance, gets that one, and from there on it goes ahead again.

    Args:
        make: makes the value of a key.
        following: the key that is probably asked for after a key.
        depth: how many are made ahead.
    """

    def __init__(self, make: Callable[[KeyT], ValueT], following: Callable[[KeyT], KeyT], *, depth: int = 2) -> None:
        self._make = make
        self._following = following
        self._depth = depth
        self._made: deque[tuple[KeyT, Future[ValueT]]] = deque()
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="ahead")

    def __enter__(self) -> "Ahead[KeyT, ValueT]":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def take(self, wanted: KeyT) -> ValueT:
        """The value of a key; raises what making it raised."""
        if not self._made or self._made[0][0] != wanted:
            self._drop()
            self._put(wanted)
        _, future = self._made.popleft()
        last = self._made[-1][0] if self._made else wanted
        while len(self._made) < self._depth:
            last = self._following(last)
            self._put(last)
        return future.result()

    def close(self) -> None:
        """End the thread."""
        self._drop()
        self._thread.shutdown()

    def _put(self, wanted: KeyT) -> None:
        self._made.append((wanted, self._thread.submit(self._make, wanted)))

    def _drop(self) -> None:
        for _, future in self._made:
            future.cancel()
        self._made.clear()


def _feistel(numbers: NDArray[np.uint64], half: int, words: list[int]) -> NDArray[np.uint64]:
    """A permutation of the numbers of twice `half` bits."""
    low = np.uint64((1 << half) - 1)
    left, right = numbers >> np.uint64(half), numbers & low
    for word in words:
        left, right = right, left ^ (_mixed_all(right ^ np.uint64(word)) & low)
    return left << np.uint64(half) | right


def _mixed_all(values: NDArray[np.uint64]) -> NDArray[np.uint64]:
    """The splitmix64 finalizer of each."""
    mixed: Any = values + np.uint64(0x9E3779B97F4A7C15)
    mixed = (mixed ^ (mixed >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    mixed = (mixed ^ (mixed >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return mixed ^ (mixed >> np.uint64(31))


def _mixed(value: int) -> int:
    """The same for one number, without an array."""
    mixed = (value + 0x9E3779B97F4A7C15) & _MASK
    mixed = ((mixed ^ (mixed >> 30)) * 0xBF58476D1CE4E5B9) & _MASK
    mixed = ((mixed ^ (mixed >> 27)) * 0x94D049BB133111EB) & _MASK
    return mixed ^ (mixed >> 31)
