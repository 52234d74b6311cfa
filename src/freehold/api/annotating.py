"""What answers tell of the content filter: on Azure's routes annotations, on OpenAI's none."""

from typing import Any, Protocol

from freehold.api.dialect import Dialect
from freehold.content_filter.annotations import annotations, offsets
from freehold.content_filter.report import Report
from freehold.gateway.account import Account
from freehold.types.verdict import Verdict

REFUSAL = "The answer was withheld by the content filter."
"""What a client that asked for data under a schema finds in `refusal`."""


class Annotator(Protocol):
    """Adds to the objects of an answer what the filter says of them."""

    def prompts(self) -> dict[str, Any]:
        """For the answer as a whole; empty where there is nothing to tell."""
        ...

    def choice(self, verdict: Verdict | None) -> dict[str, Any]:
        """For a choice or a piece of one."""
        ...

    def picture(self) -> dict[str, Any]:
        """For a picture."""
        ...


class _Silent:
    """Where nothing was examined, or nobody is told."""

    def prompts(self) -> dict[str, Any]:
        """See `Annotator.prompts`."""
        return {}

    def choice(self, verdict: Verdict | None) -> dict[str, Any]:  # noqa: ARG002  # see `Annotator`
        """See `Annotator.choice`."""
        return {}

    def picture(self) -> dict[str, Any]:
        """See `Annotator.picture`."""
        return {}


class _Azure:
    """Azure's annotations.

    Args:
        report: what the filter did.
    """

    def __init__(self, report: Report) -> None:
        self._report = report

    def prompts(self) -> dict[str, Any]:
        """See `Annotator.prompts`."""
        results = [
            {"prompt_index": index, "content_filter_results": annotations(verdict)}
            for index, verdict in enumerate(self._report.prompts)
        ]
        return {"prompt_filter_results": results} if results else {}

    def choice(self, verdict: Verdict | None) -> dict[str, Any]:
        """See `Annotator.choice`."""
        if verdict is None:
            return {"content_filter_results": {}}
        found: dict[str, Any] = {"content_filter_results": annotations(verdict)}
        if verdict.offsets is not None:
            found["content_filter_offsets"] = offsets(verdict.offsets)
        return found

    def picture(self) -> dict[str, Any]:
        """See `Annotator.picture`; nothing looks at the picture itself."""
        found: dict[str, Any] = {"content_filter_results": {}}
        if self._report.prompts:
            found["prompt_filter_results"] = annotations(self._report.prompts[0])
        return found


_SILENT = _Silent()


def annotator(dialect: Dialect, account: Account) -> Annotator:
    """What annotates the answer to a request that has begun."""
    return _Azure(account.filter) if dialect is Dialect.AZURE and account.filter is not None else _SILENT
