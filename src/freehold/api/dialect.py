"""The two dialects on the wire. They share every operation and differ in how an error looks."""

from enum import StrEnum
from typing import Any

from freehold.errors import DeploymentNotFound, FreeholdError, Unauthenticated


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
            case FreeholdError(status=404 | 405 | 403 | 503):
                return {"error": {"code": str(error.status), "message": error.message}}
    return {"error": {"message": error.message, "type": error.type, "param": error.param, "code": error.code}}


def error_headers(error: FreeholdError) -> dict[str, str]:
    """Headers that tell a client when to try again."""
    if error.retry_after_s is None:
        return {}
    return {
        "retry-after": str(max(1, round(error.retry_after_s))),
        "retry-after-ms": str(round(error.retry_after_s * 1000)),
    }
