"""Evaluations as people write them down: a TOML file, and its items beside it, one JSON object a line."""

import hashlib
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import orjson

from freehold.errors import InvalidRequest

MOST: Final = 10_000
"""Items of one file; more are uploaded and run through the API."""
_KEYS: Final = {"name", "items", "item_schema", "input_messages", "sampling_params", "testing_criteria"}


@dataclass(frozen=True, slots=True)
class EvalFile:
    """What a file says.

    Args:
        request: the body that makes the evaluation.
        source: the source of its items.
        asked: what is asked of a model with each item.
        digest: of all that has a say in what a run comes to.
    """

    request: Mapping[str, Any]
    source: Mapping[str, Any]
    asked: Mapping[str, Any]
    digest: str


def read_eval(path: Path) -> EvalFile:
    """Read an evaluation.

    Raises:
        InvalidRequest: the file is none; says which part of it.
        OSError: it cannot be read.
    """
    try:
        said = tomllib.loads(path.read_text(encoding="utf-8"))
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as exc:
        raise InvalidRequest(f"{path.name}: {exc}") from exc
    strange = sorted(set(said) - _KEYS)
    if strange:
        raise InvalidRequest(f"{path.name}: '{strange[0]}' is no key here; there are {', '.join(sorted(_KEYS))}")
    for key in ("items", "input_messages", "testing_criteria"):
        if key not in said:
            raise InvalidRequest(f"{path.name}: '{key}' is missing")
    lines = _items(path.parent / str(said["items"]))
    config = {
        "type": "custom",
        "item_schema": said.get("item_schema", {"type": "object"}),
        "include_sample_schema": True,
    }
    digest = hashlib.sha256(orjson.dumps([said, lines], option=orjson.OPT_SORT_KEYS)).hexdigest()
    request = {
        "name": said.get("name", path.stem),
        "metadata": {"file": path.name[:512], "digest": digest},
        "data_source_config": config,
        "testing_criteria": said["testing_criteria"],
    }
    asked = {"input_messages": {"type": "template", "template": said["input_messages"]}}
    if "sampling_params" in said:
        asked["sampling_params"] = said["sampling_params"]
    return EvalFile(request, {"type": "file_content", "content": lines}, asked, digest)


def _items(path: Path) -> list[dict[str, Any]]:
    """The items of a file; a line is an item, or an object that has it as `item`."""
    lines: list[dict[str, Any]] = []
    for number, raw in enumerate(path.read_bytes().splitlines(), 1):
        if not raw.strip():
            continue
        try:
            found = orjson.loads(raw)
        except orjson.JSONDecodeError as exc:
            raise InvalidRequest(f"{path.name}, line {number}: {exc.msg}") from exc
        if not isinstance(found, dict):
            raise InvalidRequest(f"{path.name}, line {number}: is no JSON object")
        lines.append(found if set(found) <= {"item", "sample"} and "item" in found else {"item": found})
    if not 0 < len(lines) <= MOST:
        raise InvalidRequest(f"{path.name} has {len(lines)} items; 1 to {MOST} can be run from a file")
    return lines
