"""Runs the lines of batches: each as the operation that it asks for, with an account and a receipt of its own.

A line is run for whoever made the batch, with the rights that it has then: a key that was
revoked meanwhile runs nothing.
"""

import asyncio
from collections.abc import Mapping
from typing import Any, Final

import orjson
import structlog

from freehold.api.body import decode
from freehold.api.chat import create_chat_completion
from freehold.api.completions import create_completion
from freehold.api.dialect import Dialect, error_body
from freehold.api.door import Door
from freehold.api.embeddings import create_embedding
from freehold.api.images import create_image
from freehold.api.moderations import create_moderation
from freehold.api.reply import Call, Handler
from freehold.api.responses import create_response
from freehold.config import Settings
from freehold.errors import Draining, FreeholdError, InternalError, QuotaExceeded, RateLimited, Unavailable
from freehold.gateway.account import Account
from freehold.gateway.batch_room import Room
from freehold.gateway.batch_store import Batch
from freehold.gateway.batch_work import BatchWork
from freehold.gateway.content import Content
from freehold.gateway.flights import ClientGone
from freehold.gateway.pipeline import Gateway
from freehold.types.batches import LineResult, LineUsage, operation_of
from freehold.types.engine import Tier
from freehold.types.identity import Principal
from freehold.types.ids import new_id
from freehold.types.money import MICRO

log = structlog.get_logger(__name__)

ENVELOPE_BYTES: Final = 8192
"""How much longer a line may be than the body in it."""
_OPERATIONS: Final[Mapping[str, Handler]] = {
    "/v1/chat/completions": create_chat_completion,
    "/v1/completions": create_completion,
    "/v1/embeddings": create_embedding,
    "/v1/responses": create_response,
    "/v1/moderations": create_moderation,
    "/v1/images/generations": create_image,
}
_TIERED: Final = frozenset({"/v1/chat/completions", "/v1/responses"})
"""Operations whose requests say which tier serves them."""


class BatchLines:
    """See `freehold.gateway.batch_work.Lines`.

    Args:
        gateway: serves the requests.
        door: knows who the callers are now.
        room: how much there is for them.
        settings: the configuration: how long a request may be, and by what prices are multiplied.
    """

    def __init__(self, gateway: Gateway, door: Door, room: Room, settings: Settings) -> None:
        self.most_bytes = settings.server.max_body_bytes + ENVELOPE_BYTES
        self._gateway = gateway
        self._door = door
        self._room = room
        self._price_factor = int(settings.batches.price_factor * MICRO)
        self._slots: dict[tuple[str, int], asyncio.Semaphore] = {}

    def check(self, batch: Batch, model: str | None) -> None:
        """See `Lines.check`."""
        principal = self._principal(batch)
        if model is not None and operation_of(batch.row.endpoint) != "/v1/moderations":
            self._gateway.model(principal, model)

    async def slots(self, model: str) -> asyncio.Semaphore:
        """See `Lines.slots`."""
        where = await self._room.of(model)
        return self._slots.setdefault(where, asyncio.Semaphore(where[1]))

    async def run(self, batch: Batch, line: int, raw: bytes) -> LineResult:
        """See `Lines.run`."""
        if self._gateway.flights.draining:
            raise Draining("The server is shutting down; the batch goes on when it is back.")
        found = orjson.loads(raw)
        operation, dialect = operation_of(batch.row.endpoint), Dialect(batch.row.dialect)
        account = self._gateway.books.open(new_id("req_"), operation, dialect.value)
        account.tier, account.price_factor = Tier.FLEX, self._price_factor
        account.notes |= {"batch": batch.id, "line": line}
        error: FreeholdError | None = None
        body: dict[str, Any] = {}
        try:
            body = await self._answered(batch, orjson.dumps(found["body"]), raw, account)
        except FreeholdError as exc:
            error = exc
        except Exception as exc:  # the edge of a request: logged in full, told as a 500
            log.exception("defect", request_id=account.request_id, route=operation)
            error = InternalError("The server had an error while processing your request.")
            error.__cause__ = exc
        finally:
            if error is None and not body:  # the task itself was cancelled
                self._gateway.books.close(account, ClientGone("The batch was interrupted."), 499)
        status = 200 if error is None else error.status
        done = self._gateway.books.close(account, error, status)
        if done is not None:
            await done
        if isinstance(error, Unavailable | RateLimited) and not isinstance(error, QuotaExceeded):
            raise error
        if error is not None:
            body = error_body(error, dialect)
        said = {
            "id": new_id("batch_req_"),
            "custom_id": found["custom_id"],
            "response": {"status_code": status, "request_id": account.request_id, "body": body},
            "error": None,
        }
        return LineResult(line, error is not None, orjson.dumps(said), usage_of(body))

    async def _answered(self, batch: Batch, sent: bytes, raw: bytes, account: Account) -> dict[str, Any]:
        """Have the request done, as a running request of whoever made the batch."""
        gateway = self._gateway
        account.principal = principal = self._principal(batch)
        gateway.check_caller(principal, account)
        account.prompt(sent)
        operation = account.route
        body = decode(raw)["body"]  # strictly: a key that stands twice is refused here as everywhere
        if operation in _TIERED:
            body = {**body, "service_tier": Tier.FLEX.value}
        origin = str(batch.header["origin"])
        call = Call(gateway, principal, body, {}, (), Dialect(batch.row.dialect), account, None, origin)
        with gateway.flights.open(principal, lambda: account.end_user) as flight:
            try:
                reply = await _OPERATIONS[operation](call)
            except asyncio.CancelledError:
                reason = flight.landed()
                if reason is None:
                    raise
                raise reason from None
        assert isinstance(reply, dict), "what streams was refused when the input was looked at"
        return reply

    def _principal(self, batch: Batch) -> Principal:
        """Whoever made the batch, as it would be let in now."""
        row = batch.row
        principal = self._door.returning(row.owner_id, row.project_id, row.key_id, row.auth_method)
        self._door.check_served(principal)
        return principal


def batch_work(gateway: Gateway, door: Door, room: Room, content: Content, settings: Settings) -> BatchWork:
    """What does the jobs of batches."""
    return BatchWork(content.batches.store, BatchLines(gateway, door, room, settings))


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
