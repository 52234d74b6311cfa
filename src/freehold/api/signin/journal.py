"""What the journal says of sign-ins: who came and went, and who was turned away."""

from starlette.types import Scope

from freehold.journal.journal import Journal
from freehold.journal.records import Kind
from freehold.types.identity import MemberKind


async def record_signin(
    journal: Journal,
    scope: Scope,
    event: str,
    *,
    organization_id: str,
    member_id: str | None,
    method: str,
    status: int,
    code: str | None = None,
) -> None:
    """Record one event; it is on the disk when this returns.

    Args:
        journal: where to.
        scope: of the request that brought it about.
        event: `login.succeeded`, `login.failed`, `logout.succeeded` or what happened to a password.
        organization_id: whose audit log it belongs in.
        member_id: who it was; None if that is not known.
        method: `password`, `link`, `session` or the name of an identity provider.
        status: of the answer.
        code: of the error, if it failed.

    Raises:
        AuditUnavailable: it cannot be recorded.
    """
    body = {
        "request_id": scope["state"]["request_id"],
        "method": scope["method"],
        "path": _without_secrets(scope["path"]),
        "status": status,
        "organization_id": organization_id,
        "project_id": None,
        "principal": member_id,
        "principal_kind": MemberKind.USER.value,
        "key_id": None,
        "auth_method": method,
        "event": event,
        "resource_type": "user",
        "resource_id": member_id,
        "code": code,
    }
    await journal.submit(Kind.ADMIN, body, durable=True)


def _without_secrets(path: str) -> str:
    """A path as it may be recorded: the secret of a link is not."""
    return "/signin/link" if path.startswith("/signin/link/") else path
