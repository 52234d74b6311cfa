"""The forms of the sign-in pages: application/x-www-form-urlencoded, small, each field once."""

from urllib.parse import parse_qsl

from starlette.requests import Request

from freehold.api.body import read_limited
from freehold.errors import MalformedBody

MAX_BYTES = 16 * 1024
MAX_FIELDS = 16


async def form_of(request: Request) -> dict[str, str]:
    """The fields of a form.

    Raises:
        MalformedBody: it is no such form.
        BodyTooLarge: it is larger than any of ours.
        ClientGone: the caller went away while sending.
    """
    kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    body = await read_limited(request.scope, request.receive, MAX_BYTES)
    if kind != "application/x-www-form-urlencoded":
        raise MalformedBody("Send the form as application/x-www-form-urlencoded.", code="invalid_form")
    try:
        pairs = parse_qsl(
            body.decode("ascii"), keep_blank_values=True, encoding="utf-8", errors="strict", max_num_fields=MAX_FIELDS
        )
    except ValueError as exc:  # not ASCII, not UTF-8, or too many fields
        raise MalformedBody("The form cannot be read.", code="invalid_form") from exc
    fields = dict(pairs)
    if len(fields) != len(pairs):
        raise MalformedBody("A field of the form stands twice.", code="invalid_form")
    return fields
