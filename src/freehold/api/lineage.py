"""`GET /v1/lineage/{id}`: what stands behind an answer, a model or an artifact."""

from starlette.routing import BaseRoute, Route

from freehold.api.dialect import Dialect
from freehold.api.openai import MakeOperation
from freehold.api.reply import Call, Handler, Reply
from freehold.errors import InvalidRequest
from freehold.gateway.traces import Traces

PATH = "/v1/lineage/{id:path}"
_YES_NO = {"true": True, "false": False}


def lineage_routes(operation: MakeOperation, traces: Traces) -> list[BaseRoute]:
    """The route; `operation(route, handler, dialect, has_body=True)` makes an endpoint."""
    return [Route(PATH, operation(PATH, _retrieve(traces), Dialect.OPENAI, has_body=False), methods=["GET"])]


def _retrieve(traces: Traces) -> Handler:
    async def retrieve_lineage(call: Call) -> Reply:
        """The tree of artifacts behind something; with `verify=true` checked."""
        verify = _YES_NO.get(call.query.get("verify", "false"))
        if verify is None:
            raise InvalidRequest("verify: must be true or false.", param="verify")
        return (await traces.get(call.principal, call.path["id"], verify=verify)).wire()

    return retrieve_lineage
