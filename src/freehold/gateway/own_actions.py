"""Administrative records of what callers, or the service itself, change on the data plane."""

from collections.abc import Mapping
from typing import Any

from freehold.types.identity import Principal


def action_body(
    event: str,
    resource: tuple[str, str],
    where: tuple[str, str | None],
    by: Principal | None,
    more: Mapping[str, Any],
) -> dict[str, Any]:
    """The body of a record.

    Args:
        event: what happened, as `fine_tuning.job.created`.
        resource: to what kind of object, and its id.
        where: the object's organization, and its project if it is in one.
        by: who did it; None if the service itself.
        more: what the record tells besides.
    """
    who: Mapping[str, Any] = {}
    if by is not None:
        who = {
            "project_id": by.project_id or None,
            "principal": by.id,
            "principal_kind": by.kind.value,
            "key_id": by.key_id or None,
            "auth_method": by.auth_method,
        }
    return {
        "event": event,
        "organization_id": where[0],
        "resource_type": resource[0],
        "resource_id": resource[1],
        "resource_project_id": where[1],
        **who,
        **more,
    }
