"""From the field `filter` of a receipt to rows of the usage database: one for each thing that was found.

A category has the severity that the filter gave it. What is only there or not has the severity of its kind
(`DETECTED`): an attack on the model weighs most, a listed term less, personal data and secrets least, for those are
mostly carelessness. What is in neither list counts as `low`, so that a newer receipt's finding is not lost.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from freehold.errors import JournalDamaged
from freehold.journal.projection_rows import MAX_KEY, micro_of
from freehold.journal.reader import Line
from freehold.store.usage_writing import Row
from freehold.types.content_filter import Severity, Shield, Side

DETECTED: Final[Mapping[str, Severity]] = {
    **{shield.value: Severity.HIGH for shield in Shield},
    "blocklist": Severity.MEDIUM,
    "personal_data": Severity.LOW,
    "secret": Severity.LOW,
}
"""The severity of findings that are there or not, by the part of their name before the colon."""
_GROUPED: Final = {"personal_data": "personal_data", "secret": "secrets"}
"""How `blocked` may name all findings of a kind at once."""
_LABELS: Final = {severity.label: severity for severity in Severity}
_WHOSE: Final = ("organization_id", "project_id", "principal", "key_id", "end_user", "deployment")


@dataclass(frozen=True, slots=True)
class Found:
    """One thing that was found in one half of a request, and whether it is why the text did not pass."""

    side: Side
    name: str
    severity: Severity
    blocked: bool


def findings_of(record: Mapping[str, Any]) -> list[Found]:
    """What the field `filter` of a receipt tells; what is safe is left out."""
    if not (record.get("prompt") or record.get("completion")):
        return []  # as of nearly all receipts
    blocked = set(record.get("blocked", ()))
    return [
        Found(side, name, severity, not blocked.isdisjoint(_blocking(side, name)))
        for side in Side
        for name, label in sorted(record.get(side.value, {}).items())
        if (severity := _severity(name, label))
    ]


def flags_of(line: Line, writer: str) -> list[Row]:
    """The rows of a receipt, values in the order of `FLAG`; none where nothing was found.

    Raises:
        JournalDamaged: the record's `filter` is not what a receipt has.
    """
    found = line.body.get("filter")
    if not found:
        return []
    try:
        if not findings_of(found):
            return []
        return _flags(line, writer, found)
    except (KeyError, ValueError, TypeError, AttributeError) as exc:
        raise JournalDamaged(
            f"record {line.seq} of the journal says nothing clear of the content filter: {type(exc).__name__} {exc}"
        ) from exc


def _flags(line: Line, writer: str, found: Mapping[str, Any]) -> list[Row]:
    body = line.body
    whose = [_text(body.get(name) or "") for name in _WHOSE]
    request = (body["request_id"], micro_of(body["started_at"]), *whose)
    return [
        (writer, line.seq, each.side.value, _text(each.name), int(each.severity), int(each.blocked), *request)
        for each in findings_of(found)
    ]


def _severity(name: str, label: str) -> Severity:
    if label in _LABELS:
        return _LABELS[label]
    return DETECTED.get(name.partition(":")[0], Severity.LOW)


def _blocking(side: Side, name: str) -> set[str]:
    """The ways in which a receipt may say that a finding is why the text did not pass."""
    kind, _, rest = name.partition(":")
    return {f"{side.value}:{each}" for each in (name, _GROUPED.get(kind, name), rest if kind == "blocklist" else name)}


def _text(text: str) -> str:
    """A text that every database can hold and index."""
    return text[:MAX_KEY].replace("\0", "\ufffd")
