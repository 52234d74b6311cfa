"""Ids: nobody else's, and in the order in which they were made."""

from concurrent.futures import ThreadPoolExecutor

from freehold.types.ids import new_id


def test_ids_increase_strictly() -> None:
    """Ids of one process are in order though many are made within a millisecond, and all of one length."""
    ids = [new_id("proj_") for _ in range(10_000)]
    assert ids == sorted(set(ids))
    assert {len(each) for each in ids} == {len("proj_") + 24}


def test_threads_make_different_ids() -> None:
    """Four threads never make the same id, and each one's own are in order."""
    with ThreadPoolExecutor(4) as pool:
        made = list(pool.map(lambda _: [new_id("key_") for _ in range(2_000)], range(4)))
    assert len({each for ids in made for each in ids}) == 8_000
    assert all(ids == sorted(ids) for ids in made)
