"""The synthetic engine keeps to its figures."""

from dataclasses import dataclass, field

import pytest

from freehold.simulation.agenda import Agenda
from freehold.simulation.engine import Replica, token_rates
from freehold.simulation.scenario import Model
from freehold.types.engine import Traits

MODEL = Model(prefill_tokens_s=1000, decode_tokens_s=50, decode_tokens_s_full=200, parallel=8, load_s=0)


@dataclass(eq=False)
class Text:
    """One request, and when what happened to it."""

    agenda: Agenda
    prompt_tokens: int
    completion_tokens: int
    first: list[float] = field(default_factory=list)
    end: list[float] = field(default_factory=list)

    def first_token(self) -> None:
        self.first.append(self.agenda.now)

    def finished(self) -> None:
        self.end.append(self.agenda.now)


def _engine() -> tuple[Agenda, Replica]:
    agenda = Agenda(0.0)
    replica = Replica("chat-1", MODEL, Traits(features=frozenset(), parallel=MODEL.parallel), agenda)
    replica.ready()
    return agenda, replica


def test_one_stream_alone() -> None:
    """One request takes the time of its prompt and of its tokens at the speed of one stream."""
    agenda, replica = _engine()
    text = Text(agenda, 500, 100)
    agenda.at(3.0, replica.begin, text)
    agenda.run(100)
    assert text.first == [pytest.approx(3.5)]
    assert text.end == [pytest.approx(5.5)]


def test_all_streams_together() -> None:
    """As many requests as it works on at once make tokens at the full speed together."""
    agenda, replica = _engine()
    texts = [Text(agenda, 0, 100) for _ in range(MODEL.parallel)]
    for text in texts:
        replica.begin(text)
    agenda.run(100)
    assert [text.end for text in texts] == [[pytest.approx(MODEL.parallel * 100 / MODEL.decode_tokens_s_full)]] * 8


def test_a_stream_that_ends_makes_the_others_faster() -> None:
    """After a short one has ended the long one goes on at the speed of one alone."""
    agenda, replica = _engine()
    short, long = Text(agenda, 0, 50), Text(agenda, 0, 150)
    replica.begin(short)
    replica.begin(long)
    agenda.run(100)
    together = 50 / token_rates(MODEL)[2]
    assert short.end == [pytest.approx(together)]
    assert long.end == [pytest.approx(together + 100 / MODEL.decode_tokens_s)]


def test_nothing_is_written_while_a_prompt_is_read() -> None:
    """A stream stands still while the prompt of another request is read."""
    agenda, replica = _engine()
    first, second = Text(agenda, 0, 100), Text(agenda, 1000, 1)
    replica.begin(first)
    agenda.at(1.0, replica.begin, second)
    agenda.run(100)
    assert second.first == [pytest.approx(2.0)]
    both = second.end[0] - 2.0
    assert first.end[0] == pytest.approx(2.0 + both + (50 - 1) / 50)


def test_what_is_abandoned_takes_no_more_time() -> None:
    """A request that is abandoned leaves the others the speed that it had, whether it was read or not yet."""
    agenda, replica = _engine()
    stays, goes, unread = Text(agenda, 0, 100), Text(agenda, 0, 100), Text(agenda, 10, 1)
    replica.begin(stays)
    replica.begin(goes)
    agenda.at(0.0, replica.abandon, goes)
    agenda.at(0.0, replica.abandon, unread)
    agenda.run(100)
    assert stays.end == [pytest.approx(2.0, rel=1e-3)]
    assert goes.end == unread.first == []


def test_a_replica_that_is_lost_gives_back_its_work() -> None:
    """What it worked on, read or not, is returned once, and never ends."""
    agenda, replica = _engine()
    texts = [Text(agenda, 1000, 100), Text(agenda, 1000, 100)]
    for text in texts:
        replica.begin(text)
    agenda.run(1.5)
    assert replica.lose() == texts
    agenda.run(100)
    assert [len(text.end) for text in texts] == [0, 0]
    assert not replica.usable


def test_the_same_moment_keeps_the_order() -> None:
    """What is put down for one moment happens in that order, and what is to be done soon before all of it."""
    agenda = Agenda(1000.0)
    seen: list[object] = []

    def first(name: object) -> None:
        seen.append(name)
        agenda.soon(seen.append, "soon")

    agenda.at(2.0, first, "a")
    agenda.at(2.0, seen.append, "b")
    agenda.at(1.0, seen.append, "c")
    agenda.at(5.0, seen.append, "late")
    assert agenda.run(3.0) == 3
    assert seen == ["c", "a", "soon", "b"]
    assert (agenda.now, agenda.wall()) == (3.0, 1003.0)
