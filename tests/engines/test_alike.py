"""Chunks that are read by their likeness to another say what they say when they are read as a whole."""

import json
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from freehold.engines.openai_stream import Alike, chat_deltas, completion_deltas
from freehold.types.generation import Delta

TEXTS = st.one_of(
    st.sampled_from(['"', "\\", '","content":"x', 'a"}}]}', "}", "", "content", "null", "é", "😀", "\u2028", "m"]),
    st.text(max_size=6),
)


@st.composite
def chunks(draw: st.DrawFn) -> tuple[bool, list[bytes]]:
    """A stream's chunks in one server's way of writing, most of them a text and nothing else; chat or not."""
    chat, ascii_only = draw(st.booleans()), draw(st.booleans())
    separators = draw(st.sampled_from([(",", ":"), (", ", ": ")]))
    extra: dict[str, Any] = draw(
        st.sampled_from([{}, {"content": "m"}, {"obfuscation": "m"}, {"model": "m"}, {"usage": None}])
    )
    made: list[bytes] = []
    for text in draw(st.lists(TEXTS, max_size=12)):
        finish = draw(st.sampled_from([None, None, None, None, "stop"]))
        index = draw(st.sampled_from([0, 0, 0, 1]))
        said: dict[str, Any] = {"delta": {"content": text}} if chat else {"text": text}
        if chat and draw(st.integers(0, 5)) == 0:
            said["delta"] = draw(st.sampled_from([{"reasoning_content": text}, {"refusal": text}, {"role": "a"}]))
        choice = {"index": index, **said, "finish_reason": finish}
        body = {"id": "m", **extra, "choices": [choice]}
        made.append(json.dumps(body, ensure_ascii=ascii_only, separators=separators).encode())
    return chat, made


@given(chunks(), st.integers(1, 12))
def test_likeness_changes_nothing(stream: tuple[bool, list[bytes]], size: int) -> None:
    """The texts of each choice are the same, in their order, however the chunks come in bursts."""
    chat, sent = stream
    read = chat_deltas if chat else completion_deltas
    wanted = [delta for data in sent for delta in read(json.loads(data))]
    alike, found = Alike(), list[Delta]()
    for start in range(0, len(sent), size):
        burst, place = sent[start : start + size], 0
        while place < len(burst):
            texts = alike.texts(burst, place)
            found += [Delta(alike.choice, text) for text in texts]
            place += len(texts)
            if not texts:
                deltas = read(json.loads(burst[place]))
                alike.learn(burst[place], deltas)
                found += deltas
                place += 1
    assert found == wanted


def test_most_chunks_are_read_so() -> None:
    """In a stream as servers send it, the first text is read whole and those after it by likeness."""
    sent = [json.dumps({"choices": [{"index": 0, "delta": {"content": f"w{n}"}}]}).encode() for n in range(9)]
    alike = Alike()
    assert alike.texts(sent, 0) == []
    alike.learn(sent[0], chat_deltas(json.loads(sent[0])))
    assert alike.texts(sent, 1) == [f"w{n}" for n in range(1, 9)]


def test_a_long_burst_is_read_to_its_end() -> None:
    """However many chunks come together, each is read, and one of another kind in their midst ends a run."""
    alike = Alike()
    sent = [json.dumps({"choices": [{"index": 0, "delta": {"content": f"w{n}"}}]}).encode() for n in range(1000)]
    alike.learn(sent[0], chat_deltas(json.loads(sent[0])))
    found, place = list[str](), 0
    while texts := alike.texts(sent, place) if place < len(sent) else []:
        found += texts
        place += len(texts)
    assert found == [f"w{n}" for n in range(1000)]
    sent[5] = b'{"choices":[]}'
    assert alike.texts(sent, 1) == [f"w{n}" for n in range(1, 5)]
    assert alike.texts(sent, 5) == []
