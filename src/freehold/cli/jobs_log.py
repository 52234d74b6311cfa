"""What happened to a job, read from where one was."""

import asyncio
import json
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from typing import Any, Final

from freehold.cli.control import Control
from freehold.cli.jobs_details import TUNING, details_path, tuning_events
from freehold.cli.output import visible

EVERY_S: Final = 1.0
"""How often the service is asked for news."""
_PAGE: Final = 100


async def events_after(control: Control, path: str, after: int) -> AsyncIterator[dict[str, Any]]:
    """The events of a job that come behind the one of a number.

    Args:
        control: reaches the service.
        path: of the job.
        after: that number; 0 for all.
    """
    more = True
    while more:
        answer = await control.request("GET", f"{path}/events?limit={_PAGE}&after={after}")
        for event in answer["data"]:
            yield event
            after = event["number"]
        more = answer["has_more"]


async def follow_events(control: Control, path: str, *, follow: bool, as_json: bool) -> None:
    """Print the events of a job, and with `follow` those that come until it has ended.

    Of a training, what its own API tells stands among what happened to the job, by the second.
    """
    number, seen = 0, ""
    while True:
        job = await control.request("GET", path)
        events = [event async for event in events_after(control, path, number)]
        number = events[-1]["number"] if events else number
        own = details_path(job) if job["kind"] == TUNING else None
        if own is not None:
            told = await tuning_events(control, own, seen)
            seen = told[-1]["id"] if told else seen
            events = sorted([*events, *told], key=lambda event: int(event["created_at"]))
        for event in events:
            print(json.dumps(event, ensure_ascii=False) if as_json else _line(event), flush=True)
        if not follow or "finished_at" in job:
            return
        await asyncio.sleep(EVERY_S)


def _line(event: dict[str, Any]) -> str:
    moment = datetime.fromtimestamp(event["created_at"], UTC).strftime("%Y-%m-%d %H:%M:%S")
    what = event["event"] if "event" in event else event["level"]
    told = event.get("detail", "") if "event" in event else event["message"]
    return " ".join(visible(f"{moment}  {what:<12} {told}").split("\n")).rstrip()
