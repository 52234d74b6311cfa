"""The input of a batch: its lines one after another, and what may be wrong with them.

However long a line or the file is, no more is in memory than the longest line that is allowed and a digest for each
`custom_id`.
"""

import hashlib
from collections.abc import AsyncGenerator, Mapping
from contextlib import aclosing
from typing import Any, Final

import orjson

from freehold.types.batches import MAX_CUSTOM_ID, MOST_LINES, BatchProblem, operation_of

MOST_PROBLEMS: Final = 100
"""That are told; the rest of the file is not looked at."""
_PARTS: Final = ("custom_id", "method", "url", "body")
_NO_MODEL: Final = frozenset({"/v1/moderations"})
"""Operations that need no model to be named."""
_NEVER: Final = ("stream", "background")
"""What a request in a batch cannot ask for."""


async def lines_of(pieces: AsyncGenerator[bytes], most_bytes: int) -> AsyncGenerator[tuple[int, bytes | None]]:
    """The lines of a file with their numbers, from 1, but for empty ones.

    Args:
        pieces: the file.
        most_bytes: how long a line may be; one that is longer is None.
    """
    number, begun, long = 0, bytearray(), False
    async with aclosing(pieces):
        async for piece in pieces:
            start = 0
            while (end := piece.find(b"\n", start)) >= 0:
                begun += piece[start:end]
                number, start = number + 1, end + 1
                if found := _line(begun, number, most_bytes, long=long):
                    yield found
                begun, long = bytearray(), False
            begun += piece[start:]
            if len(begun) > most_bytes:
                begun, long = bytearray(), True
    if found := _line(begun, number + 1, most_bytes, long=long):
        yield found


def _line(begun: bytearray, number: int, most_bytes: int, *, long: bool) -> tuple[int, bytes | None] | None:
    """A line that has come to its end; None if it is empty."""
    if long or len(begun) > most_bytes:
        return number, None
    line = bytes(begun).removeprefix(b"\xef\xbb\xbf" if number == 1 else b"").strip()
    return (number, line) if line else None


class Checker:
    """Looks at each line of an input before any of them is run.

    Args:
        endpoint: of the batch.
        most_bytes: how long a line may be.
    """

    def __init__(self, endpoint: str, most_bytes: int) -> None:
        self.problems: list[BatchProblem] = []
        self.total = 0
        self.model: str | None = None
        """What all lines ask; None where none says."""
        self.first_line = 1
        self._operation = operation_of(endpoint)
        self._most_bytes = most_bytes
        self._seen: set[bytes] = set()

    async def check(self, pieces: AsyncGenerator[bytes]) -> None:
        """Look at a whole file; what is wrong stands in `problems` then."""
        async for number, line in lines_of(pieces, self._most_bytes):
            self.total += 1
            if self.total > MOST_LINES:
                message = f"The input has more than {MOST_LINES} requests; split it into several batches."
                self.problems.append(BatchProblem("too_many_tasks", message))
                return
            problem = self._problem(number, line)
            if problem is not None:
                self.problems.append(problem)
            if len(self.problems) >= MOST_PROBLEMS:
                return
        if not self.total:
            self.problems.append(BatchProblem("empty_file", "The input has no requests; it needs one a line."))

    def _problem(self, number: int, line: bytes | None) -> BatchProblem | None:
        """What is wrong with a line; None if nothing is."""
        if line is None:
            message = f"The line is longer than the limit of {self._most_bytes} bytes for a request."
            return BatchProblem("request_too_large", message, number)
        try:
            found = orjson.loads(line)
        except orjson.JSONDecodeError as exc:
            return BatchProblem("invalid_json_line", f"This line is not parseable as valid JSON: {exc.msg}.", number)
        if not isinstance(found, dict):
            return BatchProblem("invalid_json_line", "This line is not a JSON object.", number)
        return self._shape(number, found) or self._request(number, found["body"]) or self._name(number, found)

    def _shape(self, number: int, found: Mapping[str, Any]) -> BatchProblem | None:
        for name in _PARTS:
            if name not in found:
                return BatchProblem("missing_required_parameter", f"The line has no '{name}'.", number, name)
        other = next((name for name in found if name not in _PARTS), None)
        if other is not None:
            message = f"The line has an unknown part '{other[:64]}'; there are {', '.join(_PARTS)}."
            return BatchProblem("unknown_parameter", message, number, other[:64])
        if found["method"] != "POST":
            return BatchProblem("invalid_method", "'method' must be 'POST'.", number, "method")
        url = found["url"]
        if not isinstance(url, str) or operation_of(url) != self._operation:
            message = f"'url' must be the batch's endpoint, '{self._operation}'."
            return BatchProblem("invalid_url", message, number, "url")
        if not isinstance(found["body"], dict):
            return BatchProblem("invalid_body", "'body' must be a JSON object.", number, "body")
        return None

    def _request(self, number: int, body: Mapping[str, Any]) -> BatchProblem | None:
        for name in _NEVER:
            if body.get(name):
                message = f"'{name}' is not possible in a batch; leave it out."
                return BatchProblem("unsupported_parameter", message, number, f"body.{name}")
        model = body.get("model")
        if model is None and self._operation in _NO_MODEL:
            return None
        if not isinstance(model, str) or not model:
            message = "The request has no 'model'; name a deployment."
            return BatchProblem("missing_required_parameter", message, number, "body.model")
        if self.model is None:
            self.model, self.first_line = model, number
        if model != self.model:
            message = f"All requests of a batch ask the same model: the first asks '{self.model[:64]}'."
            return BatchProblem("mismatched_model", message, number, "body.model")
        return None

    def _name(self, number: int, found: Mapping[str, Any]) -> BatchProblem | None:
        name = found["custom_id"]
        if not isinstance(name, str) or not 0 < len(name) <= MAX_CUSTOM_ID:
            message = f"'custom_id' must be a text of 1 to {MAX_CUSTOM_ID} characters."
            return BatchProblem("invalid_custom_id", message, number, "custom_id")
        digest = hashlib.blake2b(name.encode("utf-8", "surrogatepass"), digest_size=16).digest()
        if digest in self._seen:
            message = f"The custom_id '{name[:64]}' stands in an earlier line as well; each must be unique."
            return BatchProblem("duplicate_custom_id", message, number, "custom_id")
        self._seen.add(digest)
        return None
