"""`GET /v1/receipts/{request_id}`: what the journal says of one request, and the proof that it does."""

from starlette.routing import BaseRoute, Route

from freehold.api.dialect import Dialect
from freehold.api.openai import MakeOperation
from freehold.api.reply import Call, Handler, Reply
from freehold.gateway.receipts import Receipts

PATH = "/v1/receipts/{request_id}"


def receipt_routes(operation: MakeOperation, receipts: Receipts) -> list[BaseRoute]:
    """The route; `operation(route, handler, dialect, has_body=True)` makes an endpoint."""
    return [Route(PATH, operation(PATH, _retrieve(receipts), Dialect.OPENAI, has_body=False), methods=["GET"])]


def _retrieve(receipts: Receipts) -> Handler:
    async def retrieve_receipt(call: Call) -> Reply:
        """One receipt of the caller's project."""
        found = await receipts.get(call.principal, call.path["request_id"])
        return {"object": "receipt", "receipt": found.receipt, "proof": found.proof}

    return retrieve_receipt
