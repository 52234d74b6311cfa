"""`freehold train pretrain --submit`: a training as a job of the service."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from freehold.cli.control import open_control
from freehold.cli.output import print_json
from freehold.training.language.build import Run
from freehold.training.language.task import DeviceKind

TRAININGS: Final = "/v1/training/jobs"


@dataclass(frozen=True, slots=True)
class Submission:
    """How a training is to be done.

    Args:
        processes: how many, one a device.
        device: of which kind.
        threads: of each process; None for its share.
        zones: where it may run; anywhere if there is none.
        resume: whether to go on with the training in the folder.
    """

    processes: int
    device: DeviceKind
    threads: int | None
    zones: tuple[str, ...]
    resume: bool


async def submission(home: Path, run: Run, asked: Submission) -> dict[str, Any]:
    """Submit a training to the service of a home; what that says of it.

    Raises:
        ErrorAnswer: it refuses.
        ServiceUnreachable: it does not answer.
    """
    body = {
        "recipe": run.recipe.model_dump(mode="json"),
        "data": str(run.data),
        "out": str(run.out),
        "resume": asked.resume,
        "processes": asked.processes,
        "device": asked.device,
        "threads": asked.threads,
        "zones": list(asked.zones) or None,
    }
    async with open_control(home) as control:
        return await control.request("POST", TRAININGS, body)


def submitted(training: dict[str, Any], *, as_json: bool) -> None:
    """Tell what was submitted, and how to see how it goes."""
    if as_json:
        print_json(training)
        return
    print(f"submitted as {training['id']}; it trains as soon as there is room")
    print(f"see how it goes with: freehold jobs watch {training['id']}")
