"""`freehold cluster`: this machine as a node of a Ray cluster, and the nodes that there are."""

import asyncio
import re
from pathlib import Path
from typing import Annotated, Any

import typer

from freehold.cli.cluster_arbiter import decisions, shares
from freehold.cli.cluster_settings import as_started
from freehold.cli.control import open_control
from freehold.cli.lazy import command_group
from freehold.cli.leads import led_by
from freehold.cli.options import ConfigOption, HomeOption, JsonOption, home_of
from freehold.cli.output import ExitCode, print_json, say, visible
from freehold.cli.tables import in_bytes, print_table
from freehold.cluster.ray_node import (
    PORT,
    NodeOrder,
    RunningNode,
    make_token,
    running_node,
    start_node,
    stop_node,
    token_of,
)
from freehold.config import load_settings, read_secret
from freehold.log_lines import configure_logging
from freehold.store.home import Home
from freehold.types.deployment import SecretRef

app = command_group("Make this machine a node of a cluster, and see its nodes.", "Example: freehold cluster nodes")

app.command("decisions", epilog="Example: freehold cluster decisions --limit 50")(decisions)
app.command("shares", epilog="Example: freehold cluster shares")(shares)

_LABEL = r"[A-Za-z0-9]([A-Za-z0-9._-]{0,61}[A-Za-z0-9])?"
_UP_EPILOG = """\b
Examples:
  freehold cluster up --head --address 10.0.0.1 --zone eu
  freehold cluster up --join 10.0.0.1:6379 --zone us --devices 8"""


@app.command(epilog=_UP_EPILOG)
def up(
    head: Annotated[bool, typer.Option("--head", help="Be the cluster's first node.")] = False,
    join: Annotated[
        str | None, typer.Option("--join", metavar="HOST:PORT", help="Join the cluster whose head that is.")
    ] = None,
    address: Annotated[
        str | None, typer.Option(metavar="ADDRESS", help="This machine's own address in the cluster. [default: found]")
    ] = None,
    port: Annotated[int, typer.Option(min=1024, max=65535, help="Where a head listens.")] = PORT,
    zone: Annotated[str | None, typer.Option(metavar="NAME", help="Where the machine stands.")] = None,
    cores: Annotated[int | None, typer.Option(min=1, max=4096, help="Processor cores to give. [default: all]")] = None,
    memory: Annotated[
        int | None, typer.Option(min=1, metavar="MIB", help="Main memory to give, in MiB. [default: what Ray finds]")
    ] = None,
    devices: Annotated[
        int | None, typer.Option(min=0, max=1024, help="Accelerators to give. [default: what Ray finds]")
    ] = None,
    device_kind: Annotated[
        str | None, typer.Option(metavar="NAME", help="Of which kind they are. [default: what Ray finds]")
    ] = None,
    worker_ports: Annotated[
        str, typer.Option(metavar="FIRST-LAST", help="TCP ports of Ray's workers on this machine.")
    ] = "10002-19999",
    dashboard: Annotated[
        bool, typer.Option("--dashboard", help="Have Ray's dashboard on 127.0.0.1:8265 of the head.")
    ] = False,
    token_file: Annotated[
        Path | None, typer.Option(metavar="FILE", help="The cluster's token. [default: HOME/cluster/token]")
    ] = None,
    home: HomeOption = None,
) -> None:
    """Make this machine a node of a Ray cluster: its first with --head, else one more with --join.

    A head makes the token that all nodes must have, HOME/cluster/token: copy it to the same place on the others.
    """
    if head == (join is not None):
        raise typer.BadParameter("give either --head or --join HOST:PORT")
    place = Home(home_of(home))
    folder = place.cluster
    for name, value in (("--zone", zone), ("--device-kind", device_kind)):
        _check_label(name, value)
    token = _token(folder, token_file, make=head)
    order = NodeOrder(
        home=place.root,
        folder=folder,
        address=address,
        head=join,
        port=port,
        zone=zone,
        cores=cores,
        memory_bytes=None if memory is None else memory << 20,
        devices=devices,
        device_kind=device_kind,
        ports=_ports(worker_ports),
        dashboard=dashboard,
    )
    node = start_node(order, token)
    _tell(node, folder)


@app.command(epilog="Example: freehold cluster down")
def down(home: HomeOption = None) -> None:
    """End the node that runs here, and with it what the cluster runs on this machine."""
    if not stop_node(Home(home_of(home)).cluster):
        say("No node runs for this home.")
        raise typer.Exit(ExitCode.FAILED)
    say("The node has ended.")


@app.command(epilog="Example: freehold cluster status")
def status(config: ConfigOption = None, home: HomeOption = None, as_json: JsonOption = False) -> None:
    """Show the node that runs here, the cluster's nodes, and which replicas run where."""
    place = Home(home_of(home))
    answer = _ask(place, config, "GET", "/admin/cluster")
    node = running_node(place.cluster)
    if as_json:
        here = None if node is None else {"pid": node.pid, "head": node.head, "is_head": node.is_head}
        print_json({**answer, "here": here})
        return
    if node is not None:
        say(f"A node runs here (process {node.pid}), of the cluster at {node.head}.")
    elif answer["kind"] == "local":
        say("There is no cluster: engines run on this machine.")
    if answer["lead"] is not None:
        say(led_by(answer["lead"]))
    _print_nodes(answer["data"])
    rows = [(each["id"], each["state"], node["name"]) for node in answer["data"] for each in node["replicas"]]
    if rows:
        say("")
        print_table(("replica", "state", "node"), rows)


@app.command(epilog="Example: freehold cluster nodes")
def nodes(config: ConfigOption = None, home: HomeOption = None, as_json: JsonOption = False) -> None:
    """List the cluster's nodes: what each has, what of it is free, and how it is."""
    answer = _ask(Home(home_of(home)), config, "GET", "/admin/cluster")
    if as_json:
        print_json({"object": "list", "data": answer["data"]})
    else:
        _print_nodes(answer["data"])


@app.command(epilog="Example: freehold cluster drain 10.0.0.7")
def drain(
    node: Annotated[str, typer.Argument(help="The node's id or name.")],
    undo: Annotated[bool, typer.Option("--undo", help="Place on it again.")] = False,
    config: ConfigOption = None,
    home: HomeOption = None,
    as_json: JsonOption = False,
) -> None:
    """Place nothing more on a node, and have its replicas replaced elsewhere; jobs there go on to their end."""
    place = Home(home_of(home))
    answer = _ask(place, config, "POST", f"/admin/cluster/nodes/{node}/{'resume' if undo else 'drain'}")
    if as_json:
        print_json(answer)
    else:
        say(f"The node '{visible(node)}' {'takes replicas and jobs again' if undo else 'drains'}.")


def _tell(node: RunningNode, folder: Path) -> None:
    say(f"This machine is a node of the cluster at {node.head}.")
    if node.is_head:
        say(f"  Token        {folder / 'token'}")
        say(f"  More nodes   freehold cluster up --join {node.head}")
        say(f"  Serve        freehold serve --cluster {node.head}")
    say("End it with 'freehold cluster down'.")


def _ask(home: Home, config: Path | None, method: str, path: str) -> dict[str, Any]:
    """Call the server of the home or, where none runs, look by oneself."""
    configure_logging("error")
    settings = as_started(load_settings(config), home)

    async def ask() -> dict[str, Any]:
        async with open_control(home.root, settings) as control:
            return await control.request(method, path, unhurried=True)

    return asyncio.run(ask())


def _print_nodes(found: list[dict[str, Any]]) -> None:
    rows = [
        (
            node["name"],
            node["id"][:12],
            node["zone"] or "-",
            node["state"],
            *(_amounts(node) if any(node["total"].values()) else ("not counted",) * 3),
            len(node["replicas"]),
        )
        for node in found
    ]
    print_table(("node", "id", "zone", "state", "cores free", "memory free", "devices free", "replicas"), rows)


def _amounts(node: dict[str, Any]) -> tuple[str, str, str]:
    memory = f"{in_bytes(node['free']['memory_bytes'])} of {in_bytes(node['total']['memory_bytes'])}"
    return _part(node, "cores"), memory, f"{_part(node, 'devices')} {node['total']['device_kind'] or ''}".strip()


def _part(node: dict[str, Any], name: str) -> str:
    return f"{node['free'][name]:g} of {node['total'][name]:g}"


def _token(folder: Path, file: Path | None, *, make: bool) -> str:
    if file is not None:
        return read_secret(SecretRef(file=str(file)))
    return make_token(folder) if make else token_of(folder)


def _ports(text: str) -> tuple[int, int]:
    first, _, last = text.partition("-")
    if not (first.isdigit() and last.isdigit() and 1024 <= int(first) < int(last) < 65535):
        raise typer.BadParameter("must be FIRST-LAST, between 1024 and 65534", param_hint="--worker-ports")
    return int(first), int(last)


def _check_label(name: str, value: str | None) -> None:
    """Ray takes as labels what Kubernetes takes."""
    if value is not None and not re.fullmatch(_LABEL, value):
        raise typer.BadParameter("must be up to 63 letters, digits, dots, - and _", param_hint=name)
