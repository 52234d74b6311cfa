"""What `freehold policy replay` reports, as JSON and as tables."""

from collections import Counter
from typing import Any

from freehold.cli.tables import print_table
from freehold.config import Settings
from freehold.gateway.limit_replay import counted_from
from freehold.gateway.policy_replay import Replay, Tally, Window
from freehold.governance.limits import limits_of

_RATE_CODES = ("rate_limit_exceeded", "insufficient_quota", "resource_unavailable")
_ROWS = 20
"""So many keys, projects or deployments a table shows."""


def replay_body(found: Replay, window: Window, settings: Settings, notes: list[str]) -> dict[str, Any]:
    """The report as JSON values."""
    return {
        "object": "policy_replay",
        "since": window.since,
        "until": window.until,
        "let_through": found.served.total,
        "refused_then": dict(found.refused_then.most_common()),
        "would_be_refused": _tally(found.refused, found.served),
        "would_be_clamped": _tally(found.clamped, found.served),
        "undetermined": _tally(found.undetermined, found.served),
        "would_be_allowed": _tally(found.allowed, None),
        "notes": [*notes, *_notes(found, window, settings)],
    }


def _tally(tally: Tally, of: Tally | None) -> dict[str, Any]:
    def parts(counted: Counter[str], name: str) -> list[dict[str, Any]]:
        whole: Counter[str] = getattr(of, name) if of else Counter()
        return [
            {"id": key, "requests": count, **({"of": whole[key]} if of else {})} for key, count in counted.most_common()
        ]

    return {
        "total": tally.total,
        "by_reason": [
            {"reason": reason, "requests": count, "examples": tally.examples[reason]}
            for reason, count in tally.reasons.most_common()
        ],
        "by_key": parts(tally.keys, "keys"),
        "by_project": parts(tally.projects, "projects"),
        "by_deployment": parts(tally.deployments, "deployments"),
    }


def _notes(found: Replay, window: Window, settings: Settings) -> list[str]:
    """What the figures do not say, because the journal does not."""
    notes = []
    limits = [limits_of(limit) for limit in settings.limit]
    needed = counted_from(limits, window)
    if found.begins is not None and found.begins > needed:
        notes.append(f"The journal begins at {found.begins}; what was before that is not counted.")
    if found.undetermined.total:
        notes.append(
            "What cannot be told has a receipt without all that a policy needs: of an older version, or of a server "
            "that was killed meanwhile."
        )
    if limits:
        notes.append(
            "A refused caller may come again, which no journal tells; a request counts with what was reserved for it "
            "then, at the prices of then, and one that is over a deployment's limit may go to a fallback."
        )
        if any(found.refused_then[code] for code in _RATE_CODES):
            notes.append("What limits refused then is not tried again: what it would have used is not known.")
    return notes


def print_replay(body: dict[str, Any]) -> None:
    """Print the report for people."""
    print(f"{body['let_through']} requests were let through from {body['since']} to {body['until']}")
    then = body["refused_then"]
    if then:
        print(f"{sum(then.values())} were refused: {', '.join(f'{count} {code}' for code, count in then.items())}")
    for name, title in (
        ("would_be_refused", "would be refused"),
        ("would_be_clamped", "would be cut"),
        ("undetermined", "cannot be told"),
        ("would_be_allowed", "were denied by a policy and would be allowed"),
    ):
        tally = body[name]
        if name == "would_be_refused" or tally["total"]:
            print(f"{tally['total']} {title}")
            _print_tally(tally)
    for note in body["notes"]:
        print(f"note: {note}")


def _print_tally(tally: dict[str, Any]) -> None:
    if not tally["total"]:
        return
    print()
    rows = [(line["requests"], line["reason"], " ".join(line["examples"])) for line in tally["by_reason"]]
    print_table(("requests", "reason", "such as"), rows)
    for name in ("key", "project", "deployment"):
        lines = tally[f"by_{name}"]
        print()
        print_table(
            (name, "requests", "of"), [(line["id"], line["requests"], line.get("of")) for line in lines[:_ROWS]]
        )
        if len(lines) > _ROWS:
            print(f"and {len(lines) - _ROWS} more")
    print()
