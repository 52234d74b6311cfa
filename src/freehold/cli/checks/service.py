"""Checks of the running server, or of the room for one: address, health, deployments."""

import socket
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from freehold.cli.checks.result import Finding, fail, ok, warn
from freehold.cli.control import Control, is_alive
from freehold.store.home import Home


async def check_address(root: Path, host: str, port: int) -> Finding:
    """The server of this home answers, or its address is free."""
    server = Home(root).server()
    if server is not None:
        if await is_alive(server.url):
            return ok("server", f"runs on {server.url}, process {server.pid}")
        found = f"process {server.pid} does not answer on {server.url}"
        return fail("server", found, f"kill {server.pid}; freehold serve")
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.socket(family, socket.SOCK_STREAM) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
        except OSError as exc:
            found = f"not running; {host}:{port} cannot be listened on: {exc.strerror}"
            return fail("server", found, "stop what uses the port, or: freehold serve --port N")
    return ok("server", f"not running; {host}:{port} is free")


async def check_books(control: Control) -> list[Finding]:
    """Whether the journal can be written, whether the usage database keeps up with it, and how the workers are."""
    answer = await control.request("GET", "/admin/status")
    journal, usage = answer["journal"], answer["usage"]
    if journal["state"] == "ok":
        findings = [ok("journal", f"{journal['records']} records")]
    else:
        mend = "see that the disk of the home has room and works; if the journal is dead, start the server again"
        findings = [fail("journal", journal["reason"], mend)]
    if usage["state"] == "failing":
        mend = "see that the usage database can be reached and written; requests are served meanwhile"
        findings.append(warn("usage database", usage["reason"], mend))
    else:
        findings.append(ok("usage database", f"{usage['lag_records']} records behind the journal"))
    return [*findings, *_workers(answer.get("workers", ()))]


def _workers(found: Sequence[Mapping[str, Any]]) -> list[Finding]:
    """How the processes are that take requests, where there are several."""
    if not found:
        return []
    missing = [f"{worker['name']} is {worker['state']}" for worker in found if worker["state"] != "ready"]
    restarts = sum(worker["restarts"] for worker in found)
    state = f"{len(found) - len(missing)} of {len(found)} ready, {restarts} restarts"
    if missing:
        return [
            warn("workers", f"{state}: {', '.join(missing)}", "read the server's log; requests are served meanwhile")
        ]
    return [ok("workers", state)]


async def check_deployments(control: Control) -> list[Finding]:
    """What the running server says of its deployments."""
    answer = await control.request("GET", "/admin/deployments")
    return [finding for found in answer["data"] for finding in (_deployment(found), *_engines(found))]


def _deployment(found: dict[str, Any]) -> Finding:
    check = f"deployment {found['name']}"
    errors = [replica["error"] for replica in found["replicas"] if replica["error"]]
    ready = sum(replica["state"] == "ready" for replica in found["replicas"])
    state = f"{found['state']}, {ready} of {len(found['replicas'])} replicas ready"
    if found["state"] == "unknown":
        return ok(check, "not running")
    if errors and not ready:
        mend = f"read the server's log, and: freehold deployments show {found['name']}"
        return fail(check, f"{state}: {errors[-1]}", mend)
    if errors:
        return warn(check, f"{state}: {errors[-1]}", "read the server's log")
    return ok(check, state)


def _engines(found: dict[str, Any]) -> list[Finding]:
    """By which engines a deployment with `engine = "auto"` is served, and which of them it goes without, and why."""
    check = f"engines of {found['name']}"
    serving = [
        f"{each['engine']} {each['state']}{_memory(found, each['engine'])}"
        for each in found["engines"]
        if each["why"] is None
    ]
    left_out = [each for each in found["engines"] if each["why"] is not None]
    return [
        *([ok(check, ", ".join(serving))] if serving else []),
        *(warn(check, f"{each['engine']} is left out: {each['why']}", _mend(each["engine"])) for each in left_out),
    ]


def _memory(found: dict[str, Any], engine: str) -> str:
    """What the processes of an engine hold, in words; empty where nothing runs."""
    held = sum(each["memory_bytes"] or 0 for each in found["replicas"] if each["engine"] == engine)
    return f" ({held / 2**20:.0f} MiB)" if held else ""


def _mend(engine: str) -> str:
    return f"mend what is named; or name the other engine in the deployment, and '{engine}' is not missed"
