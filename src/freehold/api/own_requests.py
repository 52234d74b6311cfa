"""Requests that the service makes itself, on somebody's behalf: lines of batches, questions of evaluations.

Each is done as if it had come over HTTP, by the handler of its operation, with an account and a receipt of its own, and
with the rights that whoever asked for it has at that time: a key that was revoked meanwhile asks nothing.
"""

import asyncio
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final

import orjson
import structlog

from freehold.api.chat import create_chat_completion
from freehold.api.completions import create_completion
from freehold.api.dialect import Dialect
from freehold.api.embeddings import create_embedding
from freehold.api.images import create_image
from freehold.api.moderations import create_moderation
from freehold.api.reply import Call, Handler
from freehold.api.responses import create_response
from freehold.errors import Draining, FreeholdError, InternalError
from freehold.gateway.account import Account
from freehold.gateway.asking import Asker
from freehold.gateway.flights import ClientGone
from freehold.gateway.pipeline import Gateway
from freehold.types.engine import Tier
from freehold.types.identity import Principal
from freehold.types.ids import new_id
from freehold.types.money import MICRO
from freehold.types.receipt import Scalar

log = structlog.get_logger(__name__)

OPERATIONS: Final[Mapping[str, Handler]] = {
    "/v1/chat/completions": create_chat_completion,
    "/v1/completions": create_completion,
    "/v1/embeddings": create_embedding,
    "/v1/responses": create_response,
    "/v1/moderations": create_moderation,
    "/v1/images/generations": create_image,
}
_TIERED: Final = frozenset({"/v1/chat/completions", "/v1/responses"})
"""Operations whose requests say which tier serves them."""


@dataclass(frozen=True, slots=True)
class OwnRequest:
    """A request that the service makes.

    Args:
        operation: as OpenAI's dialect names it.
        fields: gives its body, decoded.
        sent: the bytes that stand for its body in the receipt.
        principal: who it is for, as it would be let in now; may raise.
        notes: what its receipt says it was made for.
        dialect: in which it is answered.
        origin: scheme and host under which whoever asked reaches the server.
        price_factor: by which the deployment's price is multiplied, in millionths.
        tier: which serves it.
        request_id: names it; a new one if it is empty. One that is named beforehand is made again where it is
            interrupted, so that is free.
    """

    operation: str
    fields: Callable[[], Mapping[str, Any]]
    sent: bytes
    principal: Callable[[], Principal]
    notes: Mapping[str, Scalar]
    dialect: Dialect = Dialect.OPENAI
    origin: str = ""
    price_factor: int = MICRO
    tier: Tier = Tier.FLEX
    request_id: str = ""


@dataclass(frozen=True, slots=True)
class OwnAnswer:
    """What became of it: its id, and the body of the answer, which is empty where there is an error."""

    request_id: str
    body: dict[str, Any]
    error: FreeholdError | None = None

    @property
    def status(self) -> int:
        """The HTTP status that it would have had."""
        return 200 if self.error is None else self.error.status


async def answer(gateway: Gateway, request: OwnRequest) -> OwnAnswer:
    """Have a request done; its receipt is on the disk when this returns.

    Raises:
        Draining: the server is shutting down; nothing was done.
        AuditUnavailable: the journal cannot be written; nothing was done.
    """
    if gateway.flights.draining:
        raise Draining("The server is shutting down; the work goes on when it is back.")
    account = gateway.books.open(request.request_id or new_id("req_"), request.operation, request.dialect.value)
    account.tier, account.price_factor = request.tier, request.price_factor
    account.notes |= request.notes
    error: FreeholdError | None = None
    body: dict[str, Any] = {}
    try:
        body = await _answered(gateway, request, account)
    except FreeholdError as exc:
        error = exc
    except Exception as exc:  # the edge of a request: logged in full, told as a 500
        log.exception("defect", request_id=account.request_id, route=request.operation)
        error = InternalError("The server had an error while processing your request.")
        error.__cause__ = exc
    finally:
        if error is None and not body:  # the task itself was cancelled
            if request.request_id:
                account.waive()
            gateway.books.close(account, ClientGone("The work was interrupted."), 499)
    done = gateway.books.close(account, error, 200 if error is None else error.status)
    if done is not None:
        await done
    return OwnAnswer(account.request_id, body, error)


class OwnRequests:
    """See `freehold.gateway.asking.Requests`.

    Args:
        gateway: serves the requests.
        tier: which serves them.
    """

    def __init__(self, gateway: Gateway, tier: Tier = Tier.FLEX) -> None:
        self._gateway = gateway
        self._tier = tier

    async def ask(
        self, asker: Asker, operation: str, body: Mapping[str, Any], notes: Mapping[str, Scalar]
    ) -> Mapping[str, Any]:
        """See `Requests.ask`."""
        found = await answer(
            self._gateway,
            OwnRequest(
                operation,
                lambda: body,
                orjson.dumps(body),
                asker.principal,
                notes,
                tier=self._tier,
            ),
        )
        if found.error is not None:
            raise found.error
        return found.body


async def _answered(gateway: Gateway, request: OwnRequest, account: Account) -> dict[str, Any]:
    """Have the request done, as a running request of whomever it is for."""
    account.principal = principal = request.principal()
    gateway.check_caller(principal, account)
    account.prompt(request.sent)
    body = request.fields()
    if request.operation in _TIERED:
        body = {**body, "service_tier": request.tier.value}
    call = Call(gateway, principal, body, {}, (), request.dialect, account, None, request.origin)
    with gateway.flights.open(principal, lambda: account.end_user) as flight:
        try:
            reply = await OPERATIONS[request.operation](call)
        except asyncio.CancelledError:
            reason = flight.landed()
            if reason is None:
                raise
            raise reason from None
    assert isinstance(reply, dict), "nothing is asked that streams"
    return reply
