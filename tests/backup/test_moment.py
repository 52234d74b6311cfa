"""The moment of a backup: no administrative change comes between the database and the journal."""

import asyncio
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from freehold.backup.moment import Moment, Point, take_moment
from freehold.errors import Unavailable
from freehold.store.database import Database
from freehold.store.home import Home
from freehold.store.snapshot import read_keys
from freehold.types.identity import Role
from tests.backup.homes import make_home
from tests.keys import open_keys


class Answers:
    """A service that is asked where it stands, and does something else between two questions."""

    def __init__(self, states: list[tuple[int, int]], between: Callable[[int], object] = lambda _asked: None) -> None:
        self.states = states
        self.between = between
        self.asked = 0

    async def __call__(self) -> Point:
        changes, running = self.states[min(self.asked, len(self.states) - 1)]
        self.asked += 1
        done = self.between(self.asked)
        if asyncio.iscoroutine(done):
            await done
        return Point(changes, running, "main", 1, 100, self.asked)


def moment(answers: Answers, home: Home, target: Path) -> Moment:
    """Take it."""
    return asyncio.run(take_moment(answers, home, target))


def test_a_quiet_home_is_copied_at_once(tmp_path: Path) -> None:
    """Where nothing changes two questions are enough, and the journal is cut where the second answer says."""
    home = make_home(tmp_path / "home").home
    before = time.time()
    found = moment(Answers([(4, 0)]), home, tmp_path / "copy.db")
    assert (found.point.seq, found.oldest_segment) == (2, 1)
    assert before <= found.begun_s <= time.time()
    assert len(read_keys(found.database)) == 2


@pytest.mark.parametrize(
    "states",
    [
        [(4, 1), (4, 0), (4, 0)],  # one was under way at first
        [(4, 0), (5, 0), (5, 0), (5, 0)],  # one began and ended in between
        [(4, 0), (5, 1), (5, 1), (5, 0), (5, 0)],  # one began in between, and took a while
    ],
)
def test_a_change_in_between_makes_it_try_again(tmp_path: Path, states: list[tuple[int, int]]) -> None:
    """A change that is under way, or came in between, is waited for, and the copy is of the moment after it."""
    home = make_home(tmp_path / "home").home
    answers = Answers(states)
    found = moment(answers, home, tmp_path / "copy.db")
    assert answers.asked == len(states)
    assert found.point.seq == len(states)


def test_the_copy_is_of_the_moment_that_counts(tmp_path: Path) -> None:
    """A key that is made between the questions of a try that does not count is in the copy of the next one."""
    home = make_home(tmp_path / "home").home

    async def make_key(asked: int) -> None:
        if asked == 2:
            database = await Database.open(home.database)
            await (await open_keys(database, home.pepper())).issue("in between", Role.USER)
            await database.close()

    found = moment(Answers([(4, 0), (5, 0), (5, 0), (5, 0)], make_key), home, tmp_path / "copy.db")
    assert "in between" in {key.name for key in read_keys(found.database)}


@pytest.mark.slow
def test_changes_without_a_pause_are_told(tmp_path: Path) -> None:
    """Where a change is always under way no backup is made, and that is said after a while."""
    home = make_home(tmp_path / "home").home
    with pytest.raises(Unavailable, match="when they are done"):
        moment(Answers([(4, 1)]), home, tmp_path / "copy.db")
    assert not (tmp_path / "copy.db").exists()
