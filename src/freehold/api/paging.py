"""Which part of a list is asked for, in the words of query parameters."""

from collections.abc import Mapping

from freehold.errors import InvalidRequest
from freehold.store.kept_items import Page


def page_of(query: Mapping[str, str], *, most: int, usual: int = 20) -> Page:
    """`limit`, `order` and `after`.

    Raises:
        InvalidRequest: a value is not one that it may have.
    """
    limit, order = query.get("limit", str(usual)), query.get("order", "desc")
    if not limit.isdecimal() or not 1 <= int(limit[:9]) <= most:
        raise InvalidRequest(f"'limit' must be a number from 1 to {most}.", param="limit")
    if order not in {"asc", "desc"}:
        raise InvalidRequest("'order' must be 'asc' or 'desc'.", param="order")
    return Page(int(limit), order == "desc", query.get("after"))
