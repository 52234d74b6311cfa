"""Tables as CSV (RFC 4180), for programs that make sheets of them."""

import csv
import io
from collections.abc import AsyncGenerator, Iterable, Sequence
from typing import Final

from freehold.api.reply import Download

MEDIA_TYPE: Final = "text/csv; charset=utf-8"


def csv_text(columns: Sequence[str], rows: Iterable[Sequence[object]]) -> str:
    """A table; None is an empty field."""
    out = io.StringIO()
    writer = csv.writer(out)
    writer.writerow(columns)
    writer.writerows([_plain(field) for field in row] for row in rows)
    return out.getvalue()


def _plain(field: object) -> object:
    """A field that no spreadsheet takes for a formula."""
    return f"'{field}" if isinstance(field, str) and field.startswith(("=", "+", "-", "@", "\t", "\r")) else field


def csv_download(name: str, columns: Sequence[str], rows: Iterable[Sequence[object]]) -> Download:
    """A table as a file."""
    data = csv_text(columns, rows).encode()

    async def pieces() -> AsyncGenerator[bytes]:
        yield data

    return Download(name, len(data), pieces(), MEDIA_TYPE)
