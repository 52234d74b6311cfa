"""Lists by pages, as OpenAI's administration API has them: a cursor is the id of the last object seen."""

from collections.abc import Callable, Sequence
from typing import Annotated, Any, Literal, TypeAlias, TypeVar

from fastapi import Query

from freehold.errors import InvalidRequest

Limit: TypeAlias = Annotated[int, Query(ge=1, le=100)]
After: TypeAlias = Annotated[str | None, Query(max_length=128)]
Order: TypeAlias = Literal["asc", "desc"]
RowT = TypeVar("RowT")


def page(
    rows: Sequence[RowT],
    shown: Callable[[RowT], dict[str, Any]],
    *,
    limit: int,
    after: str | None,
    order: Order = "asc",
) -> dict[str, Any]:
    """One page of a list.

    Args:
        rows: the whole list, oldest first; each has an `id`.
        shown: an object as the API shows it.
        limit: how many objects a page has.
        after: the id of the last object of the page before.
        order: `desc` begins with the newest.

    Raises:
        InvalidRequest: `after` is no object of the list.
    """
    ordered = list(rows) if order == "asc" else list(reversed(rows))
    objects = [shown(row) for row in ordered]
    begin = 0
    if after is not None:
        found = next((place for place, item in enumerate(objects) if item["id"] == after), None)
        if found is None:
            raise InvalidRequest("'after' must be the id of an object of this list.", param="after")
        begin = found + 1
    data = objects[begin : begin + limit]
    return {
        "object": "list",
        "data": data,
        "first_id": data[0]["id"] if data else None,
        "last_id": data[-1]["id"] if data else None,
        "has_more": begin + limit < len(objects),
    }
