"""What commands print, and what they exit with."""

import json
import sys
from enum import IntEnum
from typing import Any

from freehold.errors import FreeholdError, Unavailable


class ExitCode(IntEnum):
    """What the program's exit status means; listed in its help."""

    FINE = 0
    FAILED = 1
    WRONG_INPUT = 2
    UNREACHABLE = 3
    REFUSED = 4
    INTERRUPTED = 130


class ServiceUnreachable(Unavailable):
    """No Freehold answers where one was expected."""

    default_code = "service_unreachable"


class ErrorAnswer(FreeholdError):
    """The service answered with an error.

    Args:
        http_status: of the answer.
        message: from its body, as are `type_name`, `param` and `code`.
    """

    default_code = "error"

    def __init__(
        self,
        http_status: int,
        message: str,
        *,
        type_name: str | None = None,
        param: str | None = None,
        code: str | None = None,
    ) -> None:
        super().__init__(message, param=param, code=code)
        self.http_status = http_status
        self.type_name = type_name


def exit_code(error: FreeholdError) -> ExitCode:
    """The exit status that tells a script what kind of failure an error is."""
    if isinstance(error, ServiceUnreachable):
        return ExitCode.UNREACHABLE
    status = error.http_status if isinstance(error, ErrorAnswer) else error.status
    if status in {401, 403}:
        return ExitCode.REFUSED
    return ExitCode.WRONG_INPUT if 400 <= status < 500 and status not in {408, 429} else ExitCode.FAILED


def error_body(error: FreeholdError) -> dict[str, Any]:
    """An error as the API's JSON object."""
    kind = error.type_name if isinstance(error, ErrorAnswer) else None
    return {"error": {"message": error.message, "type": kind or error.type, "param": error.param, "code": error.code}}


def print_error(message: str) -> None:
    """Tell on stderr what is wrong, in one plain line."""
    line = " ".join(visible(message).split())
    sys.stderr.write(f"error: {line}\n")


def print_note(message: str) -> None:
    """Tell a person something on stderr, so that stdout stays what a script reads."""
    sys.stderr.write(f"{visible(message)}\n")
    sys.stderr.flush()


def say(line: str) -> None:
    """Print a line at once, also into a pipe or a file, so that hours of training can be followed."""
    print(line, flush=True)


def print_json(value: Any) -> None:
    """Print a value as JSON on stdout."""
    print(json.dumps(value, indent=2, ensure_ascii=False))


def visible(text: str) -> str:
    """The text without control characters, which could steer the terminal; line ends and tabs stay."""
    return "".join(char for char in text if char in "\n\t" or not _is_control(char))


def _is_control(char: str) -> bool:
    return char < " " or "\x7f" <= char <= "\x9f"
