"""The files that conversations are written to: for fine-tuning, for preferences, and for an evaluation.

Their forms are those of `freehold tune` and `freehold eval`.
"""

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import orjson

from freehold.errors import ConfigError
from freehold.training.language.conversations import Conversations, Exchange, Form, preferences

MET: Final = 64
"""Exchanges that pre-training meets at most, so that the tokens of conversations are learnt with all others."""
EVALUATED: Final = 100
"""Exchanges of the evaluation at most."""
_LONGEST_ANSWER: Final = 160
"""Tokens that an answer of the evaluation may have."""

_CRITERIA: Final = """name = %(name)s
items = "evaluation.jsonl"

[[input_messages]]
role = "user"
content = "{{ item.asked }}"

[sampling_params]
temperature = 0.7
max_completion_tokens = %(tokens)d

# The model ends its answer, and is not cut off.
[[testing_criteria]]
type = "string_check"
name = "comes to an end"
operation = "eq"
input = "{{ sample.finish_reason }}"
reference = "stop"

# It says something, and does not go on with what somebody else says.
[[testing_criteria]]
type = "multi"
name = "one answer"
pass_threshold = 1
calculate_output = "(1 - empty) * (1 - more)"

[testing_criteria.graders.empty]
type = "string_check"
name = "empty"
operation = "eq"
input = "{{ sample.output_text | trim }}"
reference = ""

[testing_criteria.graders.more]
type = "string_check"
name = "more"
operation = "like"
input = "{{ sample.output_text }}"
reference = %(more)s

# How near its words are to those of the answer in the text.
[[testing_criteria]]
type = "text_similarity"
name = "words of the text"
evaluation_metric = "rouge_1"
input = "{{ sample.output_text }}"
reference = "{{ item.answered }}"
pass_threshold = 0.5
"""
_MORE: Final[Mapping[Form, str]] = {"play": r'":\n"', "prose": r'"\n\n"'}
"""What stands in an answer that goes on: the name of another who speaks, or the end of the paragraph."""


def write_conversations(found: Conversations, name: str, out: Path, most_pairs: int) -> list[tuple[Path, int]]:
    """Write the files into a folder; each with how many lines it has. None of them is left half written.

    Args:
        found: the conversations.
        name: of the evaluation, a short one.
        out: the folder, made where it is not there.
        most_pairs: exchanges to learn preferences from at most.

    Raises:
        ConfigError: one cannot be written.
    """
    criteria = _CRITERIA % {"name": orjson.dumps(name).decode(), "tokens": _LONGEST_ANSWER, "more": _MORE[found.form]}
    asked = [{"asked": each.asked, "answered": each.answered} for each in found.held_out[:EVALUATED]]
    files = {
        "pretraining.jsonl": _lines(map(_conversation, found.training[:MET])),
        "training.jsonl": _lines(map(_conversation, found.training)),
        "validation.jsonl": _lines(map(_conversation, found.held_out)),
        "preferences-training.jsonl": _lines(_pairs(found.training[:most_pairs])),
        "preferences-validation.jsonl": _lines(_pairs(found.held_out)),
        "evaluation.jsonl": _lines(asked),
        "evaluation.toml": criteria.encode(),
    }
    return lay_files(out, files)


def lay_files(out: Path, files: Mapping[str, bytes]) -> list[tuple[Path, int]]:
    """Write files of examples into a folder, each whole or not at all; returns their paths and numbers of lines.

    Raises:
        ConfigError: one cannot be written.
    """
    written = []
    try:
        out.mkdir(parents=True, exist_ok=True)
        for file, content in files.items():
            target, part = out / file, out / f"{file}.part"
            part.write_bytes(content)
            part.replace(target)
            written.append((target, content.count(b"\n")))
    except OSError as exc:
        raise ConfigError(f"{exc.filename or out} cannot be written: {exc.strerror}") from exc
    return written


def _conversation(exchange: Exchange) -> dict[str, Any]:
    """An example of supervised fine-tuning."""
    return {"messages": [_said("user", exchange.asked), _said("assistant", exchange.answered)]}


def _pairs(exchanges: Sequence[Exchange]) -> Iterable[dict[str, Any]]:
    """Examples of preference optimization: the answer of the text is the better one."""
    for each in preferences(exchanges):
        yield {
            "input": {"messages": [_said("user", each.exchange.asked)]},
            "preferred_output": [_said("assistant", each.exchange.answered)],
            "non_preferred_output": [_said("assistant", each.other)],
        }


def _said(role: str, content: str) -> dict[str, str]:
    return {"role": role, "content": content}


def _lines(objects: Iterable[Mapping[str, Any]]) -> bytes:
    """Objects as JSONL."""
    return b"".join(orjson.dumps(each) + b"\n" for each in objects)
