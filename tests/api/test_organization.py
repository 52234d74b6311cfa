"""OpenAI's usage and costs."""

import asyncio
import csv
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any, cast

import pytest
from openai import OpenAI

from freehold.api.dialect import Dialect
from freehold.api.organization import organization_routes
from freehold.api.reply import Call, Download, Handler
from freehold.errors import Forbidden, InvalidRequest, UnknownParameter
from freehold.journal.projection_reports import UsageReports
from freehold.types.identity import DATA_PLANE, Action, Principal, Role
from freehold.types.receipt import Outcome
from tests.service import Service
from tests.usage import NOON_S, open_usage, receipt

DAY_S = 86_400
TODAY_S = NOON_S - DAY_S // 2
ALL = frozenset(Action)
OWNER = Principal("org", "proj", "svc_1", roles=frozenset({Role.OWNER}), actions=ALL, organization_actions=ALL)
USER = Principal("org", "proj", "svc_2", roles=frozenset({Role.USER}), actions=DATA_PLANE)
Ask = Callable[..., Awaitable[dict[str, Any]]]

RECEIPTS = [
    receipt(1),
    receipt(2, project_id="p2", key_id="k2", principal="ann", deployment="large", cost_micro=1_234_567),
    receipt(3, at_s=NOON_S + 3600, outcome=Outcome.CANCELLED),
    receipt(4, at_s=NOON_S + DAY_S),
    receipt(5, outcome=Outcome.REFUSED, attempt=0, prompt_tokens=0, completion_tokens=0, cost_micro=0),
    receipt(6, replay_of="req_1", attempt=0, prompt_tokens=0, cached_tokens=0, completion_tokens=0, cost_micro=0),
    receipt(7, organization_id="other"),
    receipt(8, route="/v1/embeddings", deployment="embed", completion_tokens=0, cached_tokens=0, cost_micro=5),
    receipt(
        9,
        route="/openai/v1/images/generations",
        deployment="painter",
        images=3,
        prompt_tokens=0,
        completion_tokens=0,
        cost_micro=40_000,
        parameters={"size": "1024x1024"},
    ),
    receipt(10, route="/v1/moderations", deployment="mod", completion_tokens=0, cost_micro=0),
]


def asker(reports: UsageReports, principal: Principal = OWNER) -> Ask:
    """Asks the handlers as the server does: `ask(path, "name=value", …)`."""
    handlers: dict[str, Handler] = {}

    def operation(route: str, handler: Handler, dialect: Dialect, *, has_body: bool = True) -> Handler:
        assert dialect is Dialect.OPENAI
        assert not has_body
        handlers[route] = handler
        return handler

    organization_routes(cast("Any", operation), reports)

    async def ask(path: str, *parameters: str) -> dict[str, Any]:
        items = tuple((name, value) for name, _, value in (each.partition("=") for each in parameters))
        nothing = cast("Any", None)
        call = Call(nothing, principal, {}, {}, items, Dialect.OPENAI, nothing)
        reply = await handlers[f"/v1/organization/{path}"](call)
        assert isinstance(reply, dict | Download)
        return cast("dict[str, Any]", reply)

    return ask


def answers(home: Path, url: str | None, questions: list[tuple[str, ...]]) -> list[dict[str, Any]]:
    """What the handlers answer on the receipts above."""

    async def scenario() -> list[dict[str, Any]]:
        async with open_usage(home, url) as usage:
            await usage.record(RECEIPTS)
            await usage.caught_up()
            ask = asker(usage.reports)
            return [await ask(*question) for question in questions]

    return asyncio.run(scenario())


def results(answer: dict[str, Any]) -> list[dict[str, Any]]:
    """All results of a page."""
    return [result for bucket in answer["data"] for result in bucket["results"]]


@pytest.mark.slow
def test_usage_by_kind(usage_url: str | None, tmp_path: Path) -> None:
    """Each question is answered with what is its own: not what was refused, sent again or another organization's."""
    start = f"start_time={TODAY_S}"
    chat, embed, images, moderations = answers(
        tmp_path,
        usage_url,
        [(f"usage/{kind}", start, "limit=1") for kind in ("completions", "embeddings", "images", "moderations")],
    )
    assert results(chat) == [
        {
            "object": "organization.usage.completions.result",
            "input_tokens": 30,
            "input_cached_tokens": 12,
            "input_cache_write_tokens": 0,
            "input_uncached_tokens": 18,
            "output_tokens": 60,
            "input_text_tokens": 18,
            "output_text_tokens": 60,
            "input_cached_text_tokens": 12,
            "input_audio_tokens": 0,
            "input_cached_audio_tokens": 0,
            "output_audio_tokens": 0,
            "input_image_tokens": 0,
            "input_cached_image_tokens": 0,
            "output_image_tokens": 0,
            "num_model_requests": 3,
            "project_id": None,
            "user_id": None,
            "api_key_id": None,
            "model": None,
            "batch": None,
            "service_tier": None,
        }
    ]
    nobody = {"project_id": None, "user_id": None, "api_key_id": None, "model": None}
    name = "organization.usage.embeddings.result"
    assert results(embed) == [{"object": name, "input_tokens": 10, "num_model_requests": 1, **nobody}]
    name = "organization.usage.images.result"
    assert results(images) == [
        {"object": name, "images": 3, "num_model_requests": 1, **nobody, "size": None, "source": None}
    ]
    assert results(moderations)[0]["num_model_requests"] == 1


@pytest.mark.slow
def test_groups_and_filters(usage_url: str | None, tmp_path: Path) -> None:
    """Groups carry the values that keep them apart; filters, with brackets or without, leave others out."""
    path, start = "usage/completions", f"start_time={TODAY_S}"
    grouped, filtered, batch, live, images, none = answers(
        tmp_path,
        usage_url,
        [
            (path, start, "group_by[]=model", "group_by=user_id", "group_by=batch", "group_by=service_tier", "limit=1"),
            (path, start, "project_ids[]=p2", "project_ids[]=nobody", "api_key_ids=k2", "user_ids=ann", "models=large"),
            (path, start, "batch=true"),
            (path, start, "batch=false", "limit=1"),
            ("usage/images", start, "group_by=size", "group_by=source", "sizes=1024x1024", "sources=image.generation"),
            ("usage/images", start, "sources=image.edit"),
        ],
    )
    found = [
        (r["model"], r["user_id"], r["batch"], r["service_tier"], r["num_model_requests"]) for r in results(grouped)
    ]
    assert found == [("chat", "user", False, "default", 2), ("large", "ann", False, "default", 1)]
    assert [r["num_model_requests"] for r in results(filtered)] == [1]
    assert results(batch) == []
    assert [r["num_model_requests"] for r in results(live)] == [3]
    assert [(r["size"], r["source"]) for r in results(images)] == [("1024x1024", "image.generation")]
    assert results(none) == []


@pytest.mark.slow
def test_costs(usage_url: str | None, tmp_path: Path) -> None:
    """Costs are decimal dollars, whole or by line item, the deployment, with its quantity."""
    start = f"start_time={TODAY_S}"
    whole, items = answers(
        tmp_path, usage_url, [("costs", start, "limit=1"), ("costs", start, "group_by=line_item", "limit=1")]
    )
    (result,) = results(whole)
    assert result == {
        "object": "organization.costs.result",
        "amount": {"value": 1.274632, "currency": "usd"},
        "quantity": None,
        "quantity_unit": None,
        "project_id": None,
        "line_item": None,
        "api_key_id": None,
    }
    found = {r["line_item"]: (r["amount"]["value"], r["quantity"], r["quantity_unit"]) for r in results(items)}
    assert found == {
        "chat": (0.00006, 60, "tokens"),
        "large": (1.234567, 30, "tokens"),
        "embed": (0.000005, 10, "tokens"),
        "painter": (0.04, 3, "images"),
        "mod": (0.0, 10, "tokens"),
    }


@pytest.mark.slow
@pytest.mark.parametrize(("width", "limit"), [("1m", 1440), ("1h", 24), ("1d", 1)])
def test_pages_lead_through_the_whole_range(width: str, limit: int, usage_url: str | None, tmp_path: Path) -> None:
    """Page by page the buckets follow each other without a gap, from the first second to the last."""

    async def scenario() -> list[dict[str, Any]]:
        async with open_usage(tmp_path, usage_url) as usage:
            await usage.record(RECEIPTS)
            await usage.caught_up()
            ask = asker(usage.reports)
            question = [f"start_time={TODAY_S + 5}", f"end_time={TODAY_S + 2 * DAY_S - 5}", f"bucket_width={width}"]
            pages = [await ask("usage/completions", *question, f"limit={limit}")]
            while pages[-1]["has_more"]:
                page = f"page={pages[-1]['next_page']}"
                pages.append(await ask("usage/completions", *question, f"limit={limit}", page))
            assert pages[-1]["next_page"] is None
            return pages

    pages = asyncio.run(scenario())
    buckets = [bucket for page in pages for bucket in page["data"]]
    assert all(len(page["data"]) <= limit for page in pages)
    assert buckets[0]["start_time"] == TODAY_S + 5
    assert buckets[-1]["end_time"] == TODAY_S + 2 * DAY_S - 5
    assert [b["end_time"] for b in buckets[:-1]] == [b["start_time"] for b in buckets[1:]]
    assert sum(r["num_model_requests"] for page in pages for r in results(page)) == 4


@pytest.mark.parametrize(
    ("question", "param"),
    [
        (("usage/completions",), "start_time"),
        (("usage/completions", "start_time=yesterday"), "start_time"),
        (("usage/completions", "start_time=-1"), "start_time"),
        (("usage/completions", "start_time=1", "start_time=2"), "start_time"),
        (("usage/completions", "start_time=10", "end_time=10"), "end_time"),
        (("usage/completions", "start_time=1", "bucket_width=1w"), "bucket_width"),
        (("usage/completions", "start_time=1", "limit=0"), "limit"),
        (("usage/completions", "start_time=1", "limit=32"), "limit"),
        (("usage/completions", "start_time=1", "bucket_width=1h", "limit=169"), "limit"),
        (("usage/completions", "start_time=1", "bucket_width=1m", "limit=1441"), "limit"),
        (("usage/completions", "start_time=1", "group_by=size"), "group_by"),
        (("usage/completions", "start_time=1", "batch=maybe"), "batch"),
        (("usage/completions", "start_time=1", "page=page_AAAA"), "page"),
        (("usage/completions", "start_time=1", "page=%"), "page"),
        (("usage/images", "start_time=1", "sizes=1x1"), "sizes"),
        (("usage/images", "start_time=1", "sources=attic"), "sources"),
        (("costs", "start_time=1", "bucket_width=1h"), "bucket_width"),
        (("costs", "start_time=1", "limit=181"), "limit"),
        (("costs", "start_time=1", "group_by=model"), "group_by"),
    ],
)
def test_a_wrong_value_is_named(question: tuple[str, ...], param: str, tmp_path: Path) -> None:
    """A missing, wrong or repeated parameter is a 400 that names it."""
    with pytest.raises(InvalidRequest) as caught:
        answers(tmp_path, None, [question])
    assert caught.value.param == param


@pytest.mark.parametrize(
    ("question", "param"),
    [
        (("usage/embeddings", "start_time=1", "batch=true"), "batch"),
        (("costs", "start_time=1", "models=chat"), "models"),
        (("usage/completions", "start_time=1", "limit[]=1"), "limit[]"),
    ],
)
def test_an_unknown_parameter_is_named(question: tuple[str, ...], param: str, tmp_path: Path) -> None:
    """A parameter that the question does not have is a 400 that names it."""
    with pytest.raises(UnknownParameter) as caught:
        answers(tmp_path, None, [question])
    assert caught.value.param == param


def test_a_page_belongs_to_its_question(tmp_path: Path) -> None:
    """A cursor with another question is refused."""

    async def scenario() -> None:
        async with open_usage(tmp_path) as usage:
            await usage.record(RECEIPTS[:1])
            ask = asker(usage.reports)
            first = await ask("usage/completions", "start_time=1", "limit=1")
            with pytest.raises(InvalidRequest, match="same question"):
                await ask("usage/completions", "start_time=2", f"page={first['next_page']}")
            second = await ask("usage/completions", "start_time=1", "limit=2", f"page={first['next_page']}")
            assert second["data"][0]["start_time"] == first["data"][0]["end_time"]

    asyncio.run(scenario())


def test_users_may_not_read_usage(tmp_path: Path) -> None:
    """Usage and costs are the owner's to read."""

    async def scenario() -> None:
        async with open_usage(tmp_path) as usage:
            with pytest.raises(Forbidden):
                await asker(usage.reports, USER)("costs", "start_time=1")

    asyncio.run(scenario())


@pytest.mark.slow
def test_openais_client_reads_usage_and_costs(tmp_path: Path) -> None:
    """What a request used is there for OpenAI's own client as soon as the request is answered."""
    config = """
[server]
starter = false

[[deployment]]
name = "echo"
engine = "echo"
model = "echo"
price = { input = "1000000", output = "2000000" }
"""
    with Service(tmp_path / "home", config) as service:
        client = OpenAI(base_url=f"{service.url}/v1", api_key=service.key, admin_api_key=service.key, max_retries=0)
        start = int(time.time()) - 3600
        answer = client.chat.completions.create(model="echo", messages=[{"role": "user", "content": "one two three"}])
        assert answer.usage is not None
        usage = client.admin.organization.usage.completions(
            start_time=start, group_by=["model", "project_id"], models=["echo", "other"], bucket_width="1h"
        )
        (found,) = [result for bucket in usage.data for result in bucket.results]
        costs = client.admin.organization.usage.costs(start_time=start, group_by=["line_item"])
        (cost,) = [result for bucket in costs.data for result in bucket.results]
    assert found.object == "organization.usage.completions.result"
    assert (found.model, found.num_model_requests) == ("echo", 1)
    assert found.input_tokens == answer.usage.prompt_tokens
    assert found.output_tokens == answer.usage.completion_tokens
    assert cost.object == "organization.costs.result"
    assert cost.line_item == "echo"
    assert cost.amount is not None
    assert cost.amount.value == found.input_tokens + 2 * found.output_tokens


def test_usage_comes_as_a_table(tmp_path: Path) -> None:
    """With `format=csv` the whole range comes as one file, a row for each result, money in whole units."""

    async def scenario() -> None:
        async with open_usage(tmp_path) as usage:
            await usage.record(RECEIPTS)
            await usage.caught_up()
            ask = asker(usage.reports)
            since, until = f"start_time={TODAY_S - 200 * DAY_S}", f"end_time={TODAY_S + 2 * DAY_S}"
            found = await table(ask("costs", since, until, "group_by=line_item", "format=csv"))
            assert found[0] == ["start_time", "line_item", "amount", "quantity", "quantity_unit", "currency"]
            assert ["2026-11-24T00:00:00.000000Z", "large", "1.234567", "30", "tokens", "usd"] in found
            assert ["2026-11-24T00:00:00.000000Z", "painter", "0.04", "3", "images", "usd"] in found
            asked = ("bucket_width=1h", "group_by=model", "models=chat", "format=csv")
            header, *rows = await table(ask("usage/completions", since, until, *asked))
            assert header[:3] == ["start_time", "model", "input_tokens"]
            told = [dict(zip(header, row, strict=True)) for row in rows]
            assert [(row["start_time"], row["input_tokens"], row["num_model_requests"]) for row in told] == [
                ("2026-11-24T12:00:00.000000Z", "10", "1"),
                ("2026-11-24T13:00:00.000000Z", "10", "1"),
                ("2026-11-25T12:00:00.000000Z", "10", "1"),
            ]
            assert await table(ask("usage/images", "start_time=1", "end_time=2", "format=csv")) == [["start_time"]]
            for wrong in ("format=xml", "format=csv&limit=1", "format=csv&page=x"):
                with pytest.raises(InvalidRequest) as refused:
                    await ask("costs", since, *wrong.split("&"))
                assert refused.value.param == "format"

    asyncio.run(scenario())


async def table(answer: Awaitable[Any]) -> list[list[str]]:
    """The rows of a file that was answered."""
    found = await answer
    assert isinstance(found, Download)
    assert found.media_type.startswith("text/csv")
    data = b"".join([piece async for piece in found.pieces])
    assert len(data) == found.size
    return list(csv.reader(data.decode().splitlines()))
