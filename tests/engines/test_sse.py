from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from freehold.engines.sse import EventReader, OversizeEvent

DATA = st.text(st.characters(exclude_characters="\r\n", exclude_categories=["Cs"]), max_size=30)


def _fed(body: bytes, cuts: list[int], limit: int = 1_000_000) -> list[bytes]:
    reader = EventReader(limit)
    events: list[bytes] = []
    at = [0, *sorted(cut % (len(body) + 1) for cut in cuts), len(body)]
    for start, end in pairwise(at):
        events += reader.feed(body[start:end])
    return events


@given(
    events=st.lists(st.lists(DATA, min_size=1, max_size=3), max_size=6),
    end=st.sampled_from(["\n", "\r\n", "\r"]),
    noise=st.sampled_from(["", ": a comment", "event: x", "id: 7", "retry: 10", "datax: no", "unknown"]),
    space=st.sampled_from(["", " "]),
    bom=st.booleans(),
    cuts=st.lists(st.integers(0, 10_000), max_size=20),
)
def test_events_survive_any_cut(
    events: list[list[str]], end: str, noise: str, space: str, bom: bool, cuts: list[int]
) -> None:
    """Whatever the line ends, comments and piece boundaries, each event's data comes out whole and in order."""
    body = "\ufeff" if bom else ""
    for lines in events:
        if noise:
            body += noise + end
        body += "".join(f"data:{space}{line}{end}" for line in lines) + end
    # without the optional space, a line's own leading space is the one that is taken off
    expected = ["\n".join(line if space else line.removeprefix(" ") for line in lines).encode() for lines in events]
    assert _fed(body.encode(), cuts) == expected


@given(st.binary(max_size=300), st.lists(st.integers(0, 300), max_size=10))
def test_cuts_never_matter(body: bytes, cuts: list[int]) -> None:
    """Any bytes give the same events in one piece as in many."""
    assert _fed(body, cuts) == _fed(body, [])


def test_event_that_is_cut_off_is_dropped() -> None:
    """An event without its closing empty line does not come out."""
    assert _fed(b"data: whole\n\ndata: cut off\n", []) == [b"whole"]


def test_field_without_colon_is_an_empty_line_of_data() -> None:
    """A line `data` counts as an empty data line, as in the specification."""
    assert _fed(b"data\ndata: x\n\n\n", []) == [b"\nx"]


@pytest.mark.parametrize("body", [b"data: " + b"x" * 200, b"data: x\n" * 120, b"y" * 200 + b"\n"])
def test_size_is_bounded(body: bytes) -> None:
    """A line or an event over the limit is an error, also while it is still incomplete."""
    with pytest.raises(OversizeEvent):
        _fed(body, list(range(0, len(body), 7)), limit=100)
