"""Which samples make which step."""

import hashlib
import json
import threading
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from freehold.errors import ConfigError
from freehold.training.data.batches import Ahead, Batches, Order, _mixed, _mixed_all, key, permuted
from freehold.training.data.shards import TOKEN_BYTES, TOKENIZER, TOKENS, TokenShards, token_field
from freehold.training.data.writing import RecordWriter


def token_shards(folder: Path, tokens: int, *, vocabulary: int = 1000, per_shard: int = 101) -> TokenShards:
    """Shards whose token at place i is i."""
    with RecordWriter(folder, [token_field(vocabulary)], purpose={}, records_per_shard=per_shard) as writer:
        writer.append("training", {TOKENS: np.arange(tokens)})
        (folder / TOKENIZER).mkdir()
        (folder / TOKENIZER / "tokenizer.json").write_text("{}")
        (folder / TOKEN_BYTES).write_bytes(np.ones(vocabulary, "<i4").tobytes())
        writer.finish(
            {
                "vocabulary": vocabulary,
                "end": 0,
                "tokenizer_sha256": hashlib.sha256(b"{}").hexdigest(),
                "token_bytes_sha256": hashlib.sha256(np.ones(vocabulary, "<i4").tobytes()).hexdigest(),
                "documents": {"training": 1},
                "bytes": {"training": tokens},
            }
        )
    return TokenShards.open(folder, verify=True)


@pytest.fixture(scope="module")
def shards(tmp_path_factory: pytest.TempPathFactory) -> TokenShards:
    return token_shards(tmp_path_factory.mktemp("shards"), 997)


@given(count=st.integers(1, 5000), word=st.integers(0, 2**64 - 1))
@settings(max_examples=60, deadline=None)
def test_a_permutation_has_each_number_once(count: int, word: int) -> None:
    """For any number of windows and any key each number comes once."""
    assert np.array_equal(np.sort(permuted(np.arange(count), count, word)), np.arange(count))


@given(count=st.integers(2**40, 2**62), word=st.integers(0, 2**64 - 1))
@settings(max_examples=30, deadline=None)
def test_a_permutation_of_very_many_is_not_held_in_memory(count: int, word: int) -> None:
    """Numbers of a huge range are mapped to different numbers of that range."""
    first = np.arange(1000, dtype=np.int64)
    found = permuted(np.concatenate([first, count - 1 - first]), count, word)
    assert len(np.unique(found)) == 2000
    assert ((found >= 0) & (found < count)).all()


def test_an_order_looks_drawn() -> None:
    """Neighbours do not stay neighbours, and each place sees low and high numbers alike."""
    count = 10_000
    orders = [permuted(np.arange(count), count, key(seed)) for seed in range(50)]
    for found in orders[:5]:
        assert (np.abs(np.diff(found)) == 1).mean() < 0.01
        assert abs(np.corrcoef(np.arange(count), found)[0, 1]) < 0.05
    assert abs(np.mean([found[:100].mean() for found in orders]) / count - 0.5) < 0.03


@given(value=st.integers(0, 2**64 - 1))
def test_numbers_and_arrays_are_mixed_alike(value: int) -> None:
    """The function that mixes one number is that which mixes many."""
    assert _mixed(value) == int(_mixed_all(np.array([value], np.uint64))[0])


def test_an_order_is_the_same_for_ever() -> None:
    """The order of a seed does not change between versions: trainings that go on depend on it."""
    epochs, numbers = Order(10, 1).at(np.arange(20))
    assert epochs.tolist() == [0] * 10 + [1] * 10
    assert numbers.tolist() == json.loads((Path(__file__).parent / "order.json").read_text())


@given(
    sequence=st.integers(4, 200),
    seed=st.integers(0, 2**63 - 1),
    batch=st.integers(8, 64),
    ranks=st.sampled_from([1, 2, 3, 8]),
)
@settings(max_examples=30, deadline=None)
def test_every_window_comes_once_an_epoch(
    shards: TokenShards, sequence: int, seed: int, batch: int, ranks: int
) -> None:
    """In each epoch the windows lie side by side, each comes once, and any number of ranks shares out the same ones."""
    batches = Batches(shards, "training", sequence, seed)
    steps = -(-2 * batches.windows // batch)
    one = np.concatenate([batches.order(step, batch) for step in range(steps)])
    several = [
        np.concatenate([batches.order(step, batch)[rank::ranks] for step in range(steps)]) for rank in range(ranks)
    ]
    assert np.array_equal(np.sort(np.concatenate(several)), np.sort(one))
    for epoch in range(2):
        starts = np.sort(one[epoch * batches.windows : (epoch + 1) * batches.windows])
        assert (np.diff(starts) == sequence).all()
        assert starts[0] >= 0
        assert starts[-1] + sequence + 1 <= shards.tokens("training")


def test_going_on_needs_no_memory(shards: TokenShards) -> None:
    """A step has the same samples whether or not the steps before it were asked for."""
    first, second = Batches(shards, "training", 16, 5), Batches(shards, "training", 16, 5)
    for step in range(40):
        expected = first.order(step, 7)
        if step % 9 == 0:
            assert np.array_equal(second.order(step, 7), expected)


def test_borders_lie_elsewhere_in_each_epoch(shards: TokenShards) -> None:
    """The place where windows begin changes from epoch to epoch."""
    batches = Batches(shards, "training", 32, 1)
    assert len({int(batches.order(epoch, batches.windows).min()) for epoch in range(8)}) > 3


def test_targets_follow_inputs(shards: TokenShards) -> None:
    """Samples are contiguous int64, each target is the token behind its input, also across the borders of files."""
    batches = Batches(shards, "training", 50, 3)
    indices = batches.order(0, 12)
    inputs, targets = batches.samples(indices)
    assert inputs.dtype == targets.dtype == np.int64
    assert inputs.flags.c_contiguous
    assert targets.flags.c_contiguous
    assert np.array_equal(inputs, indices[:, None] + np.arange(50))
    assert np.array_equal(targets, inputs + 1)


def test_held_out_samples_lie_evenly(shards: TokenShards) -> None:
    """Samples for evaluation are always the same, do not overlap, and are all there are if more are asked for."""
    batches = Batches(shards, "training", 10, 3)
    found = batches.spread(7)
    assert len(found) == 7
    assert (np.diff(found) >= 10).all()
    assert found.max() > 800
    assert len(batches.spread(10_000)) == 99


@pytest.mark.parametrize(("vocabulary", "dtype"), [(65_536, "uint16"), (65_537, "uint32")])
def test_tokens_are_as_small_as_can_be(tmp_path: Path, vocabulary: int, dtype: str) -> None:
    """Tokens take two bytes as long as the vocabulary allows it."""
    shards = token_shards(tmp_path, 10, vocabulary=vocabulary)
    assert shards.read("training", 0, 10).dtype == dtype
    assert shards.token_bytes.shape == (vocabulary,)


def test_too_few_tokens_are_told(shards: TokenShards) -> None:
    """A split that is shorter than a sample is refused with both numbers."""
    with pytest.raises(ConfigError, match="997 tokens for training, and one sample needs 998"):
        Batches(shards, "training", 997, 1)
    assert Batches(shards, "training", 996, 1).windows == 1
    with pytest.raises(ConfigError, match="0 tokens for validation"):
        Batches(shards, "validation", 8, 1)


@given(wanted=st.lists(st.integers(0, 20), min_size=1, max_size=40), depth=st.integers(1, 4))
@settings(max_examples=40, deadline=None)
def test_what_is_made_ahead_is_what_was_asked_for(wanted: list[int], depth: int) -> None:
    """Whatever is asked for, in whatever order, comes, made by one thread."""
    threads = set()

    def make(number: int) -> int:
        threads.add(threading.current_thread().name)
        return number * number

    with Ahead(make, lambda number: number + 1, depth=depth) as ahead:
        assert [ahead.take(number) for number in wanted] == [number * number for number in wanted]
    assert len(threads) == 1


def test_what_is_probably_wanted_is_made_ahead() -> None:
    """After one was taken the next ones are made without being asked for."""
    made = threading.Semaphore(0)

    def make(number: int) -> int:
        made.release()
        return number

    with Ahead(make, lambda number: number + 1, depth=3) as ahead:
        assert ahead.take(5) == 5
        assert all(made.acquire(timeout=30) for _ in range(4))


def test_an_error_of_making_is_the_takers() -> None:
    """What fails in the thread fails where it is asked for."""

    def make(number: int) -> float:
        return 1 / number

    with Ahead(make, lambda number: number - 1) as ahead:
        assert ahead.take(2) == 0.5
        assert ahead.take(1) == 1.0
        with pytest.raises(ZeroDivisionError):
            ahead.take(0)
