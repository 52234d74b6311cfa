"""The two dialects on the wire. They share every operation and differ in how an error looks."""

import math
from email.utils import formatdate
from enum import StrEnum
from typing import Any

from freehold.errors import ContentFiltered, DeploymentNotFound, FreeholdError, RateLimited, Unauthenticated
from freehold.gateway.account import Account
from freehold.types.policy import scalar


class Dialect(StrEnum):
    """Whose client is calling."""

    OPENAI = "openai"
    AZURE = "azure"


AZURE_UNAUTHENTICATED = (
    "Access denied due to invalid subscription key or wrong API endpoint. Make sure to provide a valid key for "
    "an active subscription and use a correct regional API endpoint for your resource."
)
AZURE_NO_DEPLOYMENT = (
    "The API deployment for this resource does not exist. If you created the deployment within the last 5 "
    "minutes, please wait a moment and try again."
)


def error_body(error: FreeholdError, dialect: Dialect) -> dict[str, Any]:
    """The JSON body of an error.

    Azure answers through its front door's shape (`code` and `message` only) where the request never reached
    a model, and in OpenAI's shape where it did.
    """
    if dialect is Dialect.AZURE:
        match error:
            case Unauthenticated():
                return {"error": {"code": "401", "message": AZURE_UNAUTHENTICATED}}
            case DeploymentNotFound():
                return {"error": {"code": "DeploymentNotFound", "message": AZURE_NO_DEPLOYMENT}}
            case ContentFiltered():
                return {"error": _filtered(error)}
            case RateLimited():
                return {"error": {"code": "429", "message": error.message}}
            case FreeholdError(status=404 | 405 | 403 | 503):
                return {"error": {"code": str(error.status), "message": error.message}}
    return {"error": {"message": error.message, "type": error.type, "param": error.param, "code": error.code}}


def _filtered(error: ContentFiltered) -> dict[str, Any]:
    """The error of a prompt that does not pass: as Azure sends it, and as its specification describes it."""
    code = "ResponsibleAIPolicyViolation"
    return {
        "message": error.message,
        "type": None,
        "param": error.param,
        "code": "contentFilter" if error.picture else error.code,
        "status": error.status,
        "innererror": {"code": code, "content_filter_result": error.results},
        "inner_error": {"code": code, "content_filter_results": error.results},
    }


def error_headers(error: FreeholdError) -> dict[str, str]:
    """Headers that tell a client when to try again, and how its limits stand."""
    headers = dict(error.headers) if isinstance(error, RateLimited) else {}
    if error.retry_after_s is not None:
        headers["retry-after"] = str(max(1, math.ceil(error.retry_after_s)))
        headers["retry-after-ms"] = str(max(1, math.ceil(error.retry_after_s * 1000)))
    return headers


def answer_headers(
    account: Account, dialect: Dialect, limits: dict[str, str], error: FreeholdError | None = None
) -> dict[str, str]:
    """Headers of an answer: how long it took, how the limits stand, what was cut, and whether it spilled over.

    Where the model is to be retired they tell that too: `deprecation` (RFC 9745) and `sunset` (RFC 8594).

    Args:
        account: of the request.
        dialect: whose names to use.
        limits: the `x-ratelimit-*`.
        error: what the request ended with, if it failed.
    """
    headers = {"openai-processing-ms": str(round(account.elapsed_s * 1000)), **limits}
    if account.clamped and error is None:
        headers["x-freehold-clamped"] = ", ".join(f"{name}={scalar(cut)}" for name, cut in account.clamped.items())
    if account.retirement is not None:
        headers["deprecation"] = f"@{account.retirement.announced_at}"
        headers["sunset"] = formatdate(account.retirement.at, usegmt=True)
    if account.spilled_from is not None:
        served = account.deployment.name if account.deployment else account.spilled_from
        if dialect is Dialect.OPENAI:
            headers |= {"x-freehold-deployment": served, "x-freehold-spillover-from": account.spilled_from}
        elif error is None:
            headers |= {"x-ms-deployment-name": served, "x-ms-spillover-from-deployment": account.spilled_from}
        else:
            headers["x-ms-spillover-error"] = str(error.status)
    return headers
