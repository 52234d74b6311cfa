"""Runs the lines of batches: each as the operation that it asks for, with an account and a receipt of its own.

A line is run for whoever made the batch, with the rights that it has then: a key that was
revoked meanwhile runs nothing.
"""

import asyncio
from collections.abc import Mapping
from dataclasses import replace
from typing import Any, Final

import orjson

from freehold.api.body import decode
from freehold.api.dialect import Dialect, error_body
from freehold.api.door import Door
from freehold.api.own_requests import OwnRequest, answer
from freehold.config import Settings
from freehold.errors import QuotaExceeded, RateLimited, Unavailable
from freehold.gateway.batch_room import Room
from freehold.gateway.batch_store import Batch
from freehold.gateway.batch_work import Attempt, BatchWork
from freehold.gateway.content import Content
from freehold.gateway.pipeline import Gateway
from freehold.gateway.receipts import Receipts
from freehold.types.batches import LineResult, LineUsage, operation_of
from freehold.types.identity import Principal
from freehold.types.ids import new_id
from freehold.types.money import MICRO
from freehold.types.receipt import Outcome, Scalar

ENVELOPE_BYTES: Final = 8192
"""How much longer a line may be than the body in it."""


class BatchLines:
    """See `freehold.gateway.batch_work.Lines`.

    Args:
        gateway: serves the requests.
        door: knows who the callers are now.
        room: how much there is for them.
        receipts: what was charged.
        settings: the configuration: how long a request may be, and by what prices are multiplied.
    """

    def __init__(self, gateway: Gateway, door: Door, room: Room, receipts: Receipts, settings: Settings) -> None:
        self.most_bytes = settings.server.max_body_bytes + ENVELOPE_BYTES
        self._gateway = gateway
        self._door = door
        self._room = room
        self._receipts = receipts
        self._price_factor = int(settings.batches.price_factor * MICRO)

    def check(self, batch: Batch, model: str | None) -> None:
        """See `Lines.check`."""
        principal = self._principal(batch)
        if model is not None and operation_of(batch.row.endpoint) != "/v1/moderations":
            self._gateway.model(principal, model)

    async def slots(self, model: str) -> asyncio.Semaphore:
        """See `Lines.slots`."""
        return await self._room.slots(model)

    async def paid(self, batch: Batch, line: int, token: int) -> str:
        """See `Lines.paid`."""
        for earlier in range(1, token):
            attempt = Attempt(earlier, 0)
            while (found := await self._receipts.outcome(attempt.request_id(batch.id, line))) is not None:
                outcome, cost_micro = found
                if outcome is Outcome.FINISHED and cost_micro:
                    return attempt.request_id(batch.id, line)
                attempt = replace(attempt, number=attempt.number + 1)
        return ""

    async def run(self, batch: Batch, line: int, raw: bytes, attempt: Attempt) -> LineResult:
        """See `Lines.run`."""
        found = orjson.loads(raw)
        notes: dict[str, Scalar] = {"batch": batch.id, "line": line, **({"paid": attempt.paid} if attempt.paid else {})}
        dialect = Dialect(batch.row.dialect)
        request = OwnRequest(
            operation_of(batch.row.endpoint),
            lambda: decode(raw)["body"],  # strictly: a key that stands twice is refused here as everywhere
            orjson.dumps(found["body"]),
            lambda: self._principal(batch),
            notes,
            dialect,
            str(batch.header["origin"]),
            0 if attempt.paid else self._price_factor,
            request_id=attempt.request_id(batch.id, line),
        )
        answered = await answer(self._gateway, request)
        body, error = answered.body, answered.error
        if isinstance(error, Unavailable | RateLimited) and not isinstance(error, QuotaExceeded):
            raise error
        if error is not None:
            body = error_body(error, dialect)
        said = {
            "id": new_id("batch_req_"),
            "custom_id": found["custom_id"],
            "response": {"status_code": answered.status, "request_id": answered.request_id, "body": body},
            "error": None,
        }
        return LineResult(line, error is not None, orjson.dumps(said), usage_of(body))

    def _principal(self, batch: Batch) -> Principal:
        """Whoever made the batch, as it would be let in now."""
        row = batch.row
        principal = self._door.returning(row.owner_id, row.project_id, row.key_id, row.auth_method)
        self._door.check_served(principal)
        return principal


def batch_work(
    gateway: Gateway, door: Door, room: Room, receipts: Receipts, content: Content, settings: Settings
) -> BatchWork:
    """What does the jobs of batches."""
    return BatchWork(content.batches.store, BatchLines(gateway, door, room, receipts, settings))


def usage_of(body: Mapping[str, Any]) -> LineUsage:
    """The tokens that an answer says it came to, whichever operation gave it."""
    usage = body.get("usage") or {}
    prompt, completion = ("input", "output") if "input_tokens" in usage else ("prompt", "completion")
    read, made = usage.get(f"{prompt}_tokens_details") or {}, usage.get(f"{completion}_tokens_details") or {}
    return LineUsage(
        input_tokens=usage.get(f"{prompt}_tokens", 0),
        cached_tokens=read.get("cached_tokens", 0) or 0,
        output_tokens=usage.get(f"{completion}_tokens", 0),
        reasoning_tokens=made.get("reasoning_tokens", 0) or 0,
    )
