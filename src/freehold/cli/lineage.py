"""`freehold lineage`: what stands behind an answer, a model or an artifact."""

import asyncio
from pathlib import Path
from typing import Annotated, Any
from urllib.parse import quote

import typer

from freehold.cli.control import open_control
from freehold.cli.lazy import command_group
from freehold.cli.options import HomeOption, JsonOption, home_of
from freehold.cli.output import ExitCode, print_error, print_json, visible

app = command_group()

_SHOWN_DIGITS = 12


@app.command(epilog="Example: freehold lineage req_3f0a --verify")
def lineage(
    name: Annotated[
        str, typer.Argument(metavar="MODEL|REQUEST_ID|DIGEST", help="A model, a deployment, a request or an artifact.")
    ],
    verify: Annotated[
        bool, typer.Option("--verify", help="Check files, records and signatures; exit with 1 if something is wrong.")
    ] = False,
    home: HomeOption = None,
    as_json: JsonOption = False,
) -> None:
    """Trace an answer or a model to its data: print the tree of what it was made from."""
    raise typer.Exit(asyncio.run(_lineage(home_of(home), name, verify=verify, as_json=as_json)))


async def _lineage(home: Path, name: str, *, verify: bool, as_json: bool) -> int:
    async with open_control(home) as control:
        query = "?verify=true" if verify else ""
        trace = await control.request("GET", f"/v1/lineage/{quote(name, safe='')}{query}")
    if as_json:
        print_json(trace)
    else:
        _print(trace)
    verified = trace["verified"]
    return ExitCode.FINE if verified is None or verified["ok"] else ExitCode.FAILED


def _print(trace: dict[str, Any]) -> None:
    if trace["answer"]:
        print(f"request {trace['answer']['request_id']}")
        for key, value in trace["answer"].items():
            if key not in {"request_id", "parameters"}:
                print(f"  {key}: {visible(str(value))}")
    if trace["tree"]:
        _print_node(trace["tree"], "", "")
    else:
        print("no weights of this machine served it")
    if trace["verified"]:
        _print_verified(trace["verified"])


def _print_node(node: dict[str, Any], lead: str, below: str) -> None:
    """Print a tree.

    Args:
        node: its root.
        lead: what stands before the root's line.
        below: what stands before the lines under it.
    """
    kind, name = node["kind"] or "unknown", node["name"] or "nothing recorded"
    also = "".join(f", also {each['kind']} {each['name']}" for each in node["also"])
    again = " (see above)" if node["again"] else ""
    print(visible(f"{lead}{kind} {name}{also} sha256:{node['digest'][:_SHOWN_DIGITS]}{again}"))
    if not node["again"]:
        facts = ", ".join(f"{key}={value}" for key, value in sorted(node.get("facts", {}).items()))
        children = [*node["parents"], *node["derived"]]
        if facts:
            print(visible(f"{below}{'│ ' if children else '  '}  {facts}"))
        for number, child in enumerate(children, 1):
            last = number == len(children)
            _print_node(child, f"{below}{'└─ ' if last else '├─ '}", f"{below}{'   ' if last else '│  '}")


def _print_verified(verified: dict[str, Any]) -> None:
    for note in verified["notes"]:
        print(f"not checked: {visible(note)}")
    for fault in verified["faults"]:
        print_error(f"{fault['name'] or 'artifact'} {fault['digest'][:_SHOWN_DIGITS]}: {fault['what']}")
    if verified["ok"]:
        count, read = verified["artifacts"], verified["read"]
        print(f"verified: {count} records in the signed journal, the bytes of {read} read again")
