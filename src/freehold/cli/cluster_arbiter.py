"""`freehold cluster decisions|shares`: who has room on the cluster, who waits for it and why, and who is due what."""

import asyncio
import time
from pathlib import Path
from typing import Annotated, Any

import typer

from freehold.cli.control import open_control
from freehold.cli.options import HomeOption, JsonOption, home_of
from freehold.cli.output import print_json, say
from freehold.cli.tables import print_table

_WHY = {
    "no_room": "there is no room",
    "making_room": "others are making room for it",
    "preempted": "it made room for others",
    "overdue": "its time to leave was over",
    "node_lost": "its node was lost",
}
_NOBODY = "Nobody is asked for room: what the cluster has is not counted. See [cluster] in the configuration."


def decisions(
    limit: Annotated[int, typer.Option(min=0, max=500, help="How many of the last decisions.")] = 20,
    home: HomeOption = None,
    as_json: JsonOption = False,
) -> None:
    """Show what runs on the cluster, what waits for room there and why, and what was decided last."""
    answer = asyncio.run(_read(home_of(home), limit))
    if as_json:
        print_json({name: answer[name] for name in ("enabled", "workloads", "decisions")})
        return
    if not answer["enabled"]:
        say(_NOBODY)
        return
    print_table(
        ("workload", "class", "organization", "project", "state", "where, or why it waits"),
        [(each["workload"], *_owner(each), each["state"], _where(each)) for each in answer["workloads"]],
    )
    say("")
    print_table(
        ("when", "decision", "workload", "class", "details"),
        [
            (_ago(each["at"]), each["decision"], each["workload"], each["work_class"], _details(each))
            for each in answer["decisions"]
        ],
    )


def shares(home: HomeOption = None, as_json: JsonOption = False) -> None:
    """Show what each project has of the cluster in each class, and what it is due."""
    answer = asyncio.run(_read(home_of(home), 0))
    if as_json:
        print_json({name: answer[name] for name in ("enabled", "shares")})
        return
    if not answer["enabled"]:
        say(_NOBODY)
        return
    print_table(
        ("class", "organization", "weight", "project", "weight in it", "has", "running", "waiting"),
        [
            (
                each["work_class"],
                each["organization_id"],
                f"{each['organization_weight']:g}",
                each["project_id"] or "",
                f"{each['weight']:g}",
                f"{100 * each['share']:.1f} %",
                each["running"],
                each["waiting"],
            )
            for each in answer["shares"]
        ],
    )


async def _read(home: Path, limit: int) -> dict[str, Any]:
    async with open_control(home) as control:
        return await control.request("GET", f"/admin/arbiter?limit={limit}")


def _owner(found: dict[str, Any]) -> tuple[str, str, str]:
    return found["work_class"], found["organization_id"], found["project_id"] or ""


def _where(found: dict[str, Any]) -> str:
    """Its nodes, each once with how many of its members are there; or why it has none."""
    if found["reason"] is not None:
        return _WHY[found["reason"]]
    nodes: list[str] = found["nodes"]
    text = ", ".join(
        f"{node} ({nodes.count(node)})" if nodes.count(node) > 1 else node for node in dict.fromkeys(nodes)
    )
    if found["deadline"] is not None:
        text += f"; leaves within {max(0, found['deadline'] - time.time()):.0f} s"
    return text


def _ago(at_s: float) -> str:
    return f"{max(0, time.time() - at_s):.0f} s ago"


def _details(decision: dict[str, Any]) -> str:
    match decision["decision"]:
        case "placed" | "resumed":
            return "on " + ", ".join(dict.fromkeys(decision["nodes"]))
        case "preempted":
            return f"for {decision['in_favour_of'] or 'its node drains'}"
        case "refused":
            return str(decision["detail"])
    return _WHY[decision["reason"]]
