"""A past to be replayed: a real journal whose requests began and ended when a test says so."""

import asyncio
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from freehold.config import JournalSettings
from freehold.gateway.limit_replay import replay_limits
from freehold.gateway.policy_replay import Replay, Window, replay_policies
from freehold.governance.limits import Limits
from freehold.governance.policy import PolicySet
from freehold.journal.records import Kind, utc
from freehold.types.limits import Subject
from freehold.types.policy import PolicySettings
from tests.journal.journals import START_S, Clock, opened, signer_of

NOON_S = START_S + 12 * 3600
"""2026-11-24, 12:00 UTC."""


@dataclass
class Past:
    """What happened, in seconds before and after noon."""

    home: Path
    events: list[tuple[float, Kind, dict[str, Any]]] = field(default_factory=list)
    segment_bytes: int = 64 * 1024

    def request(
        self,
        name: str,
        at_s: float,
        for_s: float = 1.0,
        *,
        admitted: bool = True,
        tokens: int = 10,
        micro: int = 100,
        cost: int = 100,
        **receipt: Any,
    ) -> None:
        """A request that was admitted and ended; with `admitted` false it was refused before that.

        Args:
            name: its id.
            at_s: when it came.
            for_s: how long it took.
            admitted: whether it was.
            tokens: reserved, and used.
            micro: money reserved.
            cost: money charged.
            receipt: more of its receipt; what is None is left out.
        """
        who = {"organization_id": "org", "project_id": "proj", "key_id": "key", "deployment": "chat"}
        who |= {key: receipt[key] for key in (*who, "end_user") if key in receipt}
        head = {"request_id": name, "started_at": utc(NOON_S + at_s)}
        if admitted:
            body = {**head, **who, "reserved_tokens": tokens, "reserved_micro": micro}
            self.events.append((at_s, Kind.ADMITTED, _given(body)))
        body = {
            **head,
            **who,
            "ended_at": utc(NOON_S + at_s + for_s),
            "outcome": "finished",
            "requested": who["deployment"],
            "model": "small",
            "principal": "user-1",
            "roles": ["user"],
            "parameters": {"messages": 1},
            "prompt_bytes": 100,
            "prompt_tokens": tokens,
            "completion_tokens": 0,
            "cost_micro": cost,
            **receipt,
        }
        self.events.append((at_s + for_s, Kind.RECEIPT, _given(body)))

    def moved(self, name: str, at_s: float, deployment: str, **changes: Any) -> None:
        """A request that was admitted to another deployment, because the first could not serve."""
        body = {"organization_id": "org", "project_id": "proj", "key_id": "key", "deployment": deployment}
        head = {"request_id": name, "started_at": utc(NOON_S + at_s), "reserved_tokens": 10, "reserved_micro": 100}
        self.events.append((at_s, Kind.ADMITTED, {**head, **body, **changes}))

    def write(self) -> list[Path]:
        """Write the journal, and return its writers' folders."""

        async def run() -> None:
            clock = Clock(NOON_S)
            settings = JournalSettings(segment_bytes=self.segment_bytes)
            async with opened(self.home, settings, clock=clock) as journal:
                for at_s, kind, body in sorted(self.events, key=lambda event: event[0]):
                    clock.now_s = NOON_S + at_s
                    await journal.submit(kind, body, durable=False)

        if not (self.home / "journal" / "main").exists():
            signer_of(self.home)
            asyncio.run(run())
        return [self.home / "journal" / "main"]

    def replay(
        self,
        *policies: PolicySettings,
        limits: dict[Subject, Limits] | None = None,
        since_s: float = 0.0,
        until_s: float = 3600.0,
    ) -> Replay:
        """Replay the requests of a stretch of time."""
        folders, found = self.write(), Replay()
        window = Window(utc(NOON_S + since_s), utc(NOON_S + until_s))
        denied = replay_policies(folders, PolicySet(policies), window, found)
        if limits is not None:
            replay_limits(folders, limits, window, denied, found)
        return found


def _given(body: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in body.items() if value is not None}
