"""Stored completions on a real database: what is kept of a request, who finds it, and by which metadata."""

import asyncio
import sqlite3
from collections.abc import Awaitable, Callable
from contextlib import closing
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import func, select, text
from sqlalchemy.exc import IntegrityError

from freehold.errors import Forbidden, InvalidRequest, NotFound, ZeroRetention
from freehold.gateway.stored_completions import StoredCompletions, stored_message
from freehold.governance.retention import RetentionRegistry
from freehold.store.database import Database
from freehold.store.kept_items import COMPLETION_TABLES, Page
from freehold.types.chat import ChatRequest
from freehold.types.content import RetentionOverride, RetentionSettings
from freehold.types.identity import DATA_PLANE, Action, MemberKind, Principal
from freehold.types.stored_completions import CompletionFilter
from tests.gateway.kept import completions_of, sweep_of

APP = Principal("org", "proj_a", "app", actions=DATA_PLANE)
ELSEWHERE = replace(APP, project_id="proj_b")
ABROAD = replace(APP, organization_id="org-2")
ANN = Principal("org", "proj_a", "ann", kind=MemberKind.USER, actions=DATA_PLANE)
BOB = replace(ANN, id="bob")
ASKS_ONLY = replace(APP, actions=frozenset({Action.INFER}))
READS = replace(APP, actions=frozenset({Action.INFER, Action.READ_CONVERSATIONS}))
NOW = 1_800_000_000.0
ALL = CompletionFilter()
FIRST = Page(10, newest_first=False)


@dataclass(frozen=True, slots=True)
class Trial:
    """What a test has."""

    completions: StoredCompletions
    database: Database
    retention: RetentionRegistry

    async def keep(
        self, number: int, principal: Principal = APP, *, model: str = "chat", **parameters: Any
    ) -> dict[str, Any]:
        """A completion, stored."""
        completion = {"id": f"chatcmpl-{number}", "model": model, "choices": [], "object": "chat.completion"}
        await self.completions.keep(principal, asked(**parameters), completion)
        return completion

    async def found(self, principal: Principal = APP, wanted: CompletionFilter = ALL, page: Page = FIRST) -> list[str]:
        """The ids that a list has."""
        found, _ = await self.completions.page(principal, wanted, page)
        return [each["id"].removeprefix("chatcmpl-") for each in found]

    async def rows(self) -> list[int]:
        """How many completions, messages and labels there are."""
        async with self.database.read() as connection:
            counts = [select(func.count()).select_from(table) for table in COMPLETION_TABLES.all()]
            return [(await connection.execute(count)).scalar_one() for count in counts]


def asked(**parameters: Any) -> ChatRequest:
    """A request."""
    body = {"model": "chat", "messages": [{"role": "user", "content": "a secret"}], **parameters}
    return ChatRequest.model_validate(body)


def run(folder: Path, trial: Callable[[Trial], Awaitable[None]]) -> None:
    """Run a trial on a new home."""

    async def main() -> None:
        database = await Database.open(folder / "freehold.db")
        retention = RetentionRegistry(database, RetentionSettings())
        completions = completions_of(database, lambda: NOW, retention=retention)
        try:
            await trial(Trial(completions, database, retention))
        finally:
            await database.close()

    asyncio.run(main())


def test_what_is_kept_comes_back(tmp_path: Path) -> None:
    """A completion comes back with its metadata, its messages in their order and by pages, and nothing is legible."""

    async def trial(it: Trial) -> None:
        messages = [{"role": "user", "content": f"secret {number}"} for number in range(5)]
        made = await it.keep(1, messages=messages, metadata={"topic": "a secret"})
        assert await it.completions.get(APP, "chatcmpl-1") == {**made, "metadata": {"topic": "a secret"}}
        first, more = await it.completions.messages(APP, "chatcmpl-1", Page(3, newest_first=False))
        assert ([each["id"] for each in first], more) == ([f"chatcmpl-1-{n}" for n in range(3)], True)
        rest, more = await it.completions.messages(APP, "chatcmpl-1", Page(3, False, "chatcmpl-1-2"))
        assert ([each["content"] for each in rest], more) == (["secret 3", "secret 4"], False)
        with pytest.raises(InvalidRequest, match="chatcmpl-2-0"):
            await it.completions.messages(APP, "chatcmpl-1", Page(3, False, "chatcmpl-2-0"))

    run(tmp_path, trial)
    held = b"".join(file.read_bytes() for file in tmp_path.iterdir())
    assert b"chatcmpl-1" in held
    assert b"secret" not in held
    assert b"topic" not in held


def test_a_list_has_what_meets_all_conditions(tmp_path: Path) -> None:
    """Model and every pair of metadata must be right, a key and value cut elsewhere are others, pages go both ways."""

    async def trial(it: Trial) -> None:
        await it.keep(1, metadata={"team": "red", "run": "1"})
        await it.keep(2, metadata={"team": "red", "run": "2"})
        await it.keep(3, model="other", metadata={"team": "red", "run": "1"})
        await it.keep(4, metadata={"team": "blue", "tea": "m\0red", "tea\0m": "red"})
        await it.keep(5)
        for metadata, model, ids in (
            ({}, None, ["1", "2", "3", "4", "5"]),
            ({"team": "red"}, None, ["1", "2", "3"]),
            ({"team": "red", "run": "1"}, None, ["1", "3"]),
            ({"team": "red", "run": "1"}, "other", ["3"]),
            ({"team": "blue", "run": "1"}, None, []),
            ({"tea": "m\0red"}, None, ["4"]),
            ({"team": "RED"}, None, []),
            ({}, "other", ["3"]),
            ({}, "none", []),
        ):
            assert await it.found(APP, CompletionFilter(model, metadata)) == ids, (metadata, model)
        red = CompletionFilter(None, {"team": "red"})
        assert await it.completions.page(APP, red, Page(2, newest_first=False)) == (
            [await it.completions.get(APP, f"chatcmpl-{n}") for n in (1, 2)],
            True,
        )
        assert await it.found(APP, red, Page(2, False, "chatcmpl-2")) == ["3"]
        assert await it.found(APP, red, Page(2, True, "chatcmpl-3")) == ["2", "1"]

    run(tmp_path, trial)


def test_new_metadata_takes_the_place_of_the_old(tmp_path: Path) -> None:
    """After a change a completion is found by what it has now, no label of before is left, the rest is as it was."""

    async def trial(it: Trial) -> None:
        made = await it.keep(1, metadata={"a": "1", "b": "1"})
        changed = await it.completions.update(APP, "chatcmpl-1", {"b": "2"})
        assert changed == {**made, "metadata": {"b": "2"}}
        assert await it.completions.get(APP, "chatcmpl-1") == changed
        found = [await it.found(APP, CompletionFilter(None, dict([pair]))) for pair in (("a", "1"), ("b", "1"))]
        assert found == [[], []]
        assert await it.found(APP, CompletionFilter(None, {"b": "2"})) == ["1"]
        assert await it.rows() == [1, 1, 1]
        assert (await it.completions.update(APP, "chatcmpl-1", {}))["metadata"] == {}
        assert await it.rows() == [1, 1, 0]

    run(tmp_path, trial)


def test_another_ones_does_not_exist(tmp_path: Path) -> None:
    """For another project, organization or person an id is unknown to every operation and `after`; lists lack it."""

    async def trial(it: Trial) -> None:
        await it.keep(1, APP, metadata={"a": "1"})
        await it.keep(2, ANN, metadata={"a": "1"})
        pair = CompletionFilter(None, {"a": "1"})
        for principal, seen in ((APP, ["1"]), (ANN, ["1", "2"]), (BOB, ["1"]), (ELSEWHERE, []), (ABROAD, [])):
            assert await it.found(principal) == await it.found(principal, pair) == seen
            for hidden in {"1", "2"} - set(seen):
                name = f"chatcmpl-{hidden}"
                for use in (
                    it.completions.get(principal, name),
                    it.completions.update(principal, name, {"b": "1"}),
                    it.completions.messages(principal, name, FIRST),
                    it.completions.delete(principal, name),
                    it.completions.page(principal, ALL, Page(10, False, name)),
                ):
                    with pytest.raises(NotFound, match=f"No such stored chat completion: {name}"):
                        await use
        assert await it.rows() == [2, 2, 2]
        await it.completions.delete(ANN, "chatcmpl-1")
        assert await it.found(APP) == []
        assert await it.rows() == [1, 1, 1]

    run(tmp_path, trial)


def test_the_same_metadata_has_another_label_in_another_project(tmp_path: Path) -> None:
    """Who reads the database learns nothing of whether two projects use the same words."""

    async def trial(it: Trial) -> None:
        await it.keep(1, APP, metadata={"a": "1"})
        await it.keep(2, ELSEWHERE, metadata={"a": "1"})
        await it.keep(3, ABROAD, metadata={"a": "1"})

    run(tmp_path, trial)
    with closing(sqlite3.connect(tmp_path / "freehold.db")) as connection:
        assert connection.execute("SELECT count(DISTINCT digest) FROM kept_completion_labels").fetchone() == (3,)


def test_reading_and_storing_are_rights_of_their_own(tmp_path: Path) -> None:
    """Who may only ask stores nothing and sees nothing; who may read changes nothing; the error names the action."""

    async def trial(it: Trial) -> None:
        await it.keep(1)
        for principal in (ASKS_ONLY, READS):
            with pytest.raises(Forbidden, match="conversations:write"):
                it.completions.check(principal, asked(store=True))
            it.completions.check(principal, asked())
            for change in (
                it.completions.keep(principal, asked(), {"id": "chatcmpl-2", "model": "chat"}),
                it.completions.update(principal, "chatcmpl-1", {}),
                it.completions.delete(principal, "chatcmpl-1"),
            ):
                with pytest.raises(Forbidden, match="conversations:write"):
                    await change
        for read in (
            it.completions.get(ASKS_ONLY, "chatcmpl-1"),
            it.completions.page(ASKS_ONLY, ALL, FIRST),
            it.completions.messages(ASKS_ONLY, "chatcmpl-1", FIRST),
        ):
            with pytest.raises(Forbidden, match="conversations:read"):
                await read
        assert await it.found(READS) == ["1"]

    run(tmp_path, trial)


def test_whether_to_store_is_said_by_the_request_and_else_by_its_project(tmp_path: Path) -> None:
    """`store` decides where it is given; else the project, for callers who may store; zero retention refuses `true`."""

    async def trial(it: Trial) -> None:
        def wanted(principal: Principal) -> list[bool]:
            return [it.completions.wanted(principal, asked(store=store)) for store in (None, False, True)]

        assert wanted(APP) == [False, False, True]
        await it.retention.put("org", "proj_a", RetentionOverride(store=True))
        assert wanted(APP) == [True, False, True]
        assert wanted(ELSEWHERE) == [False, False, True]
        assert wanted(READS)[0] is False
        await it.retention.put("org", "proj_a", RetentionOverride(store=True, type="zero_data_retention"))
        assert wanted(APP)[:2] == [False, False]
        it.completions.check(APP, asked())
        with pytest.raises(ZeroRetention, match="'store'"):
            it.completions.check(APP, asked(store=True))
        with pytest.raises(ZeroRetention, match="'store'"):
            await it.keep(1)
        assert await it.rows() == [0, 0, 0]

    run(tmp_path, trial)


def test_what_is_stored_goes_in_time(tmp_path: Path) -> None:
    """A shorter time holds for what is there, and takes messages and labels along."""

    async def trial(it: Trial) -> None:
        await it.keep(1, metadata={"a": "1"})
        await it.retention.put("org", "proj_a", RetentionOverride(keep_s={"completions": 60}))
        await sweep_of(it.database, lambda: NOW + 59, it.retention).run()
        assert await it.rows() == [1, 1, 1]
        await sweep_of(it.database, lambda: NOW + 60, it.retention).run()
        assert await it.rows() == [0, 0, 0]

    run(tmp_path, trial)


def test_a_completion_is_stored_whole_or_not_at_all(tmp_path: Path) -> None:
    """Where the last of its rows cannot be written none is, neither at first nor at a change of metadata."""

    async def trial(it: Trial) -> None:
        await it.keep(1, metadata={"a": "1"})
        async with it.database.write() as connection:
            await connection.execute(
                text(
                    "CREATE TRIGGER refuse BEFORE INSERT ON kept_completion_labels "
                    "BEGIN SELECT RAISE(ABORT, 'full'); END"
                )
            )
        with pytest.raises(IntegrityError, match="full"):
            await it.keep(2, metadata={"a": "1"})
        with pytest.raises(IntegrityError, match="full"):
            await it.completions.update(APP, "chatcmpl-1", {"b": "1"})
        assert await it.rows() == [1, 1, 1]
        assert (await it.completions.get(APP, "chatcmpl-1"))["metadata"] == {"a": "1"}

    run(tmp_path, trial)


@pytest.mark.parametrize(
    ("message", "said"),
    [
        ({"role": "user", "content": "hi", "name": "ann"}, {"content": "hi", "name": "ann"}),
        ({"role": "system", "content": "be kind"}, {"content": "be kind"}),
        ({"role": "developer", "content": [{"type": "text", "text": "a"}]}, {"content_parts": [{"text": "a"}]}),
        (
            {"role": "user", "content": [{"type": "image_url", "image_url": {"url": "https://a.example/b.png"}}]},
            {"content_parts": [{"type": "image_url", "image_url": {"url": "https://a.example/b.png"}}]},
        ),
        (
            {"role": "assistant", "content": [{"type": "refusal", "refusal": "no"}, {"type": "text", "text": "but"}]},
            {"refusal": "no", "content_parts": [{"text": "but"}]},
        ),
        ({"role": "assistant", "content": None, "refusal": "never"}, {"refusal": "never"}),
        (
            {
                "role": "assistant",
                "tool_calls": [{"id": "c1", "type": "function", "function": {"name": "f", "arguments": "{}"}}],
            },
            {"tool_calls": [{"id": "c1", "type": "function", "function": {"name": "f", "arguments": "{}"}}]},
        ),
        (
            {"role": "assistant", "function_call": {"name": "f", "arguments": "{}"}},
            {"function_call": {"name": "f", "arguments": "{}"}},
        ),
        ({"role": "tool", "content": "5", "tool_call_id": "c1"}, {"content": "5", "tool_call_id": "c1"}),
        ({"role": "function", "content": "5", "name": "f"}, {"content": "5", "name": "f"}),
    ],
)
def test_messages_are_kept_as_they_were_sent(message: dict[str, Any], said: dict[str, Any]) -> None:
    """Texts are `content`, parts are `content_parts` with nothing added, and what a role has beside them is there."""
    (given,) = asked(messages=[message]).messages
    for part in said.get("content_parts", []):
        part.setdefault("type", "text")
    empty = {"content": None, "content_parts": None, "name": None, "refusal": None}
    assert stored_message("m-0", given) == {"id": "m-0", "role": message["role"], **empty, **said}
