"""Times through which trainings and fine-tunings run: what each had, and what is written of it when it ends."""

from collections.abc import Mapping
from typing import Any, Final, Protocol

from freehold.journal.records import utc
from freehold.types.training import MILLI, Outcome, Rate, Room, Stretch

SECOND_US: Final = 1_000_000
DAY_US: Final = 86_400 * SECOND_US
SEEN_US: Final = 10 * SECOND_US
"""How often it is written down that a job still runs, where nothing else is."""


class Runs(Protocol):
    """A job with a stretch at which it is; see `freehold.store.training_tables`."""

    @property
    def id(self) -> str:
        """Names it."""

    @property
    def organization_id(self) -> str:
        """Whose it is, with the next three."""

    @property
    def project_id(self) -> str:
        """See `organization_id`."""

    @property
    def owner_id(self) -> str:
        """See `organization_id`."""

    @property
    def key_id(self) -> str:
        """See `organization_id`."""

    @property
    def stretch(self) -> int:
        """The number of the stretch."""

    @property
    def stretch_step(self) -> int:
        """After which step it began."""

    @property
    def stretch_began_us(self) -> int | None:
        """When, in microseconds since the epoch; None where none has begun."""

    @property
    def room(self) -> Mapping[str, Any] | None:
        """What it has."""

    @property
    def device_us(self) -> int:
        """The sum of the stretches before, as `core_us`."""

    @property
    def core_us(self) -> int:
        """See `device_us`."""


def stretch_of(
    row: Runs, name: str, outcome: Outcome, end_us: int, kept: int, rate: Rate, *, tokens_of_step: int = 0
) -> Stretch:
    """The stretch at which a job is, if it ends so.

    Args:
        row: the job.
        name: of what is trained.
        outcome: how it ends.
        end_us: when, in microseconds since the epoch.
        kept: the step that the newest checkpoint holds.
        rate: what an hour costs.
        tokens_of_step: how many tokens each step trains; 0 where they have receipts of their own.
    """
    assert row.room is not None, "it has begun"
    began_us = row.stretch_began_us or end_us
    room = Room(**row.room)
    duration_us = max(0, end_us - began_us)
    kept = max(kept, row.stretch_step)
    return Stretch(
        id=f"{row.id}:{row.stretch}",
        training=row.id,
        organization_id=row.organization_id,
        project_id=row.project_id,
        principal=row.owner_id,
        name=name,
        key_id=row.key_id,
        started_at=utc(began_us / SECOND_US),
        ended_at=utc((began_us + duration_us) / SECOND_US),
        duration_us=duration_us,
        outcome=outcome,
        room=room,
        step_from=row.stretch_step,
        step_to=kept,
        tokens=(kept - row.stretch_step) * tokens_of_step,
        rate=rate,
        cost_micro=rate.cost_micro(room, duration_us),
    )


def counted(row: Runs, stretch: Stretch) -> dict[str, int]:
    """The sums of a job's time once a stretch of it is put to account."""
    return {
        "device_us": row.device_us + stretch.room.devices * stretch.duration_us,
        "core_us": row.core_us + stretch.room.core_milli * stretch.duration_us // MILLI,
    }


def another_day(began_us: int | None, now_us: int) -> bool:
    """Whether midnight, UTC, lies between; where a stretch ends, and the next begins."""
    return began_us is not None and now_us // DAY_US != began_us // DAY_US
