"""Where the items of a run come from: the request, a file, or stored completions."""

import asyncio
from collections.abc import AsyncGenerator, Mapping
from contextlib import aclosing
from dataclasses import dataclass
from typing import Any, Final

import orjson
from jsonschema.exceptions import SchemaError
from jsonschema.protocols import Validator
from referencing.exceptions import Unresolvable

from freehold.errors import InvalidRequest, NotFound
from freehold.gateway.batch_input import lines_of
from freehold.gateway.evaluation_store import Evaluation, Run
from freehold.gateway.files import Files
from freehold.gateway.grading import sample_of
from freehold.gateway.linear_schemas import SchemaTooCostly, linear_validator, problem_of
from freehold.gateway.stored_completions import StoredCompletions
from freehold.store.kept_items import Page
from freehold.types.evaluations import MOST_ITEMS, CustomConfig, FileContent, FileId, JsonlSource, StoredSource
from freehold.types.identity import Principal
from freehold.types.stored_completions import CompletionFilter

MAX_LINE: Final = 4 * 1024 * 1024
"""Bytes of an item in a file."""
_PAGE: Final = 100
_SAMPLE_SCHEMA: Final = {
    "type": "object",
    "properties": {
        "model": {"type": "string"},
        "finish_reason": {"type": "string"},
        "output_text": {"type": "string"},
        "output_json": {},
        "output_tools": {"type": "array"},
    },
}
_STORED_SCHEMA: Final = {
    "type": "object",
    "properties": {
        "id": {"type": "string"},
        "model": {"type": "string"},
        "metadata": {"type": "object"},
        "input": {"type": "array"},
        "output_text": {"type": "string"},
    },
    "required": ["input"],
}


@dataclass(frozen=True, slots=True)
class SourceItem:
    """One item: its number, from 0, its data, and the answer that came with it, if one did."""

    number: int
    item: Mapping[str, Any]
    sample: Mapping[str, Any] | None = None
    problem: str = ""


class SourceProblem(InvalidRequest):
    """The items of a run cannot be had, or are not what the evaluation says."""


class Sources:
    """Gives runs their items.

    Args:
        files: the files of projects.
        completions: the stored completions.
    """

    def __init__(self, files: Files, completions: StoredCompletions) -> None:
        self._files = files
        self._completions = completions

    async def planned(self, principal: Principal, run: Run) -> tuple[str, ...]:
        """The ids of the stored completions that a run is about; none where it is about something else.

        Raises:
            SourceProblem: there are none.
            Forbidden: the caller may not read them.
        """
        source = run.request.data_source.source
        if not isinstance(source, StoredSource):
            return ()
        wanted = CompletionFilter(source.model, source.metadata or {})
        most, ids, after = source.limit or MOST_ITEMS, list[str](), None
        while len(ids) < most:
            found, more = await self._completions.page(principal, wanted, Page(_PAGE, newest_first=False, after=after))
            ids += [each["id"] for each in found if _in_time(each, source)]
            if not more:
                break
            after = found[-1]["id"]
        if not ids:
            raise SourceProblem("No stored completion is as 'source' says.", param="data_source.source")
        return tuple(ids[:most])

    async def items(self, principal: Principal, run: Run, *, skip: set[int]) -> AsyncGenerator[SourceItem]:
        """The items of a run in their order, but for those that are to be skipped.

        Raises:
            SourceProblem: the file is not what it has to be.
            NotFound: it is gone.
            Forbidden: the caller may not read it.
        """
        match run.request.data_source.source:
            case FileContent(content=content):
                for number, line in enumerate(content):
                    if number not in skip:
                        yield SourceItem(number, line.item, line.sample)
            case FileId(id=file_id):
                async for each in self._lines(principal, file_id):
                    if each.number not in skip:
                        yield each
            case StoredSource():
                for number, completion_id in enumerate(run.plan):
                    if number not in skip:
                        yield await self._stored(principal, number, completion_id)
            case _:
                raise AssertionError("other sources were refused")

    async def _lines(self, principal: Principal, file_id: str) -> AsyncGenerator[SourceItem]:
        _, pieces = await self._files.content(principal, file_id)
        count = 0
        async with aclosing(lines_of(pieces, MAX_LINE)) as lines:
            async for number, raw in lines:
                yield _read(count, number, raw)
                count += 1

    async def _stored(self, principal: Principal, number: int, completion_id: str) -> SourceItem:
        try:
            found = await self._completions.get(principal, completion_id)
            page = Page(_PAGE, newest_first=False)
            messages, _ = await self._completions.messages(principal, completion_id, page)
        except NotFound:
            return SourceItem(number, {"id": completion_id}, problem="The stored completion is gone.")
        message = found["choices"][0]["message"]
        text = message.get("content") or ""
        item = {
            "id": completion_id,
            "model": found["model"],
            "metadata": found.get("metadata") or {},
            "input": [_asked(each) for each in messages],
            "output_text": text,
        }
        more = {"model": found["model"], "finish_reason": found["choices"][0]["finish_reason"]}
        return SourceItem(number, item, sample_of(text, output_tools=message.get("tool_calls") or [], **more))


class ItemCheck:
    """Looks whether items are as an evaluation says.

    Args:
        evaluation: says it, if its items are of its own shape.

    Raises:
        InvalidRequest: what it says is no JSON schema.
    """

    def __init__(self, evaluation: Evaluation) -> None:
        config = evaluation.request.data_source_config
        self._validator = schema_of(config) if isinstance(config, CustomConfig) else None

    def check(self, found: SourceItem, where: str) -> None:
        """Return if an item is as it has to be.

        Raises:
            SourceProblem: it is not; names the place.
        """
        if self._validator is None:
            return
        try:
            problem = problem_of(self._validator, dict(found.item))
        except SchemaTooCostly as exc:
            raise SourceProblem(
                f"{where} cannot be checked by the 'item_schema': {exc}.",
                param="item_schema",
                code="invalid_json_schema",
            ) from exc
        except Unresolvable as exc:
            raise SourceProblem("The 'item_schema' refers to what is not there.", param="item_schema") from exc
        if problem is not None:
            place = problem.json_path.removeprefix("$").removeprefix(".")
            raise SourceProblem(
                f"{where} is not as the evaluation's item_schema says: {f'{place}: ' if place else ''}"
                f"{problem.message[:300]}.",
                param="data_source.source",
                code="invalid_item",
            )


def schema_of(config: CustomConfig) -> Validator:
    """What checks the items of an evaluation.

    Raises:
        InvalidRequest: its schema is none.
    """
    try:
        return linear_validator(config.item_schema)
    except (SchemaError, RecursionError) as exc:
        message = exc.message if isinstance(exc, SchemaError) else "it is nested too deep"
        raise InvalidRequest(
            f"Invalid schema: {message[:200]}", param="data_source_config.item_schema", code="invalid_json_schema"
        ) from exc


def schema_object(evaluation: Evaluation) -> dict[str, Any]:
    """The schema of what graders see, as an evaluation's `data_source_config` tells it."""
    config = evaluation.request.data_source_config
    custom = isinstance(config, CustomConfig)
    item = config.item_schema if isinstance(config, CustomConfig) else _STORED_SCHEMA
    properties: dict[str, Any] = {"item": item}
    if not custom or (isinstance(config, CustomConfig) and config.include_sample_schema):
        properties["sample"] = _SAMPLE_SCHEMA
    return {"type": "object", "properties": properties, "required": list(properties)}


async def checked(sources: Sources, principal: Principal, evaluation: Evaluation, run: Run) -> int:
    """How many items a run has, once each of them was looked at.

    Raises:
        SourceProblem: one is not as it has to be, or there are none, or too many.
        FreeholdError: they cannot be had.
    """
    check, count = ItemCheck(evaluation), 0
    of_file = isinstance(run.request.data_source.source, FileId)
    async with aclosing(sources.items(principal, run, skip=set())) as items:
        async for found in items:
            where = f"Line {found.number + 1}" if of_file else f"Item {found.number}"
            if found.problem:
                raise SourceProblem(f"{where}: {found.problem}", param="data_source.source")
            await asyncio.to_thread(check.check, found, where)
            count += 1
            if count > MOST_ITEMS:
                raise SourceProblem(f"A run has {MOST_ITEMS} items at most.", param="data_source.source")
    if not count:
        raise SourceProblem("There are no items; a run needs one at least.", param="data_source.source")
    return count


def check_source(evaluation: Evaluation, run: Run) -> None:
    """Return if the kind of a run's source is that of its evaluation, and the items in the request are as it says.

    Raises:
        InvalidRequest: it is not.
    """
    stored = not isinstance(evaluation.request.data_source_config, CustomConfig)
    source = run.request.data_source
    if stored and not isinstance(source.source, StoredSource):
        raise InvalidRequest(
            "The evaluation is about stored completions; its runs take a source 'stored_completions'.",
            param="data_source.source.type",
        )
    if isinstance(source, JsonlSource) and stored:
        raise InvalidRequest("The evaluation is about stored completions.", param="data_source.type")
    if isinstance(source.source, FileContent):
        check = ItemCheck(evaluation)
        for number, line in enumerate(source.source.content):
            check.check(SourceItem(number, line.item, line.sample), f"Item {number}")


def _read(count: int, number: int, raw: bytes | None) -> SourceItem:
    """A line of a file of items."""
    if raw is None:
        return SourceItem(count, {}, problem=f"It is longer than {MAX_LINE} bytes.")
    try:
        found = orjson.loads(raw)
    except orjson.JSONDecodeError as exc:
        return SourceItem(count, {}, problem=f"Line {number} of the file is no JSON: {exc.msg}.")
    sample = found.get("sample") if isinstance(found, dict) else None
    if not isinstance(found, dict) or not isinstance(found.get("item"), dict) or not isinstance(sample, dict | None):
        return SourceItem(count, {}, problem=f"Line {number} of the file must be an object with an object 'item'.")
    return SourceItem(count, found["item"], sample)


def _in_time(completion: Mapping[str, Any], source: StoredSource) -> bool:
    made = completion["created"]
    return (source.created_after is None or made > source.created_after) and (
        source.created_before is None or made < source.created_before
    )


def _asked(message: Mapping[str, Any]) -> dict[str, Any]:
    """A stored message as it can be sent again."""
    content = message.get("content")
    asked = {"role": message["role"], "content": message.get("content_parts") if content is None else content}
    return asked | {
        name: message[name] for name in ("tool_calls", "tool_call_id", "name") if message.get(name) is not None
    }
