"""The process of a gateway that speaks Ray: it makes actors of `freehold.cluster.host` and passes on what they say.

A process of its own, because Ray's native code ends the one it is in when the cluster's head cannot be reached for a
minute, and a gateway that loses its cluster still has to answer. It reads orders as lines of JSON on standard input and
writes lines of JSON on standard output; both are told in `freehold.cluster.ray_wire`. When it ends, so do its actors.
"""

import asyncio
import logging
import os
import sys
from collections.abc import Awaitable, Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import orjson
import ray
from ray._private.state import available_resources_per_node  # of no public form; Ray's own libraries use it so
from ray.exceptions import ActorUnavailableError, RayActorError, RayError, RayTaskError
from ray.util import list_named_actors
from ray.util.placement_group import placement_group, remove_placement_group
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy, PlacementGroupSchedulingStrategy

import freehold
from freehold.cluster.authority import Authority
from freehold.cluster.host import PACKAGE, EngineHost, JobHost
from freehold.cluster.node_files import Listing
from freehold.cluster.ray_wire import KIND_LABEL, LOST_CODE, NAMESPACE, NODE_LABEL, ZONE_LABEL
from freehold.cluster.spanning import Addresses
from freehold.errors import EngineFailed, FreeholdError, NoRoom

PIECE_BYTES: Final = 4 << 20
IN_FLIGHT: Final = 4
"""So many pieces of a model are on their way to a node at once."""
LOOK_S: Final = 1.0
"""How often the nodes are looked at."""
SILENT_S: Final = 5.0
"""An actor that cannot be reached for this long is taken for lost."""


class Link:
    """Carries out orders.

    Args:
        prefix: begins the names of this home's actors.
        authority: signs the relays' certificates.
        say: writes a message.
    """

    def __init__(self, prefix: str, authority: Authority, say: Callable[[Mapping[str, Any]], None]) -> None:
        self._prefix = prefix
        self._authority = authority
        self._say = say
        self._hosts: dict[int, Any] = {}
        self._orders: dict[int, asyncio.Task[None]] = {}
        self._following: dict[int, asyncio.Task[None]] = {}

    def end_orphans(self) -> None:
        """End the actors that an earlier run of this home's gateway left."""
        for name in list_named_actors():
            if name.startswith(self._prefix):
                ray.kill(ray.get_actor(name))

    def take(self, order: Mapping[str, Any]) -> None:
        """Carry out an order, beside the others."""
        number = order["n"]
        if order["do"] == "end":
            self._end(order["host"])
            return
        does = {"nodes": self._nodes, "place": self._place, "gang": self._gang, "call": self._call}[order["do"]]
        task = asyncio.create_task(self._answer(number, does(order)), name=f"order {number}")
        self._orders[number] = task
        task.add_done_callback(lambda _: self._orders.pop(number, None))

    async def watch(self) -> None:
        """Tell of the nodes whenever there are others, or they are otherwise."""
        before: Any = None
        while True:
            now = await asyncio.to_thread(_nodes)
            if [node[:-1] for node in now] != before:
                before = [node[:-1] for node in now]
                self._say({"nodes": now})
            await asyncio.sleep(LOOK_S)

    async def _answer(self, number: int, work: Awaitable[Any]) -> None:
        """Do the work of an order, and answer it."""
        try:
            answer = await work
        except asyncio.CancelledError:
            return
        except RayTaskError as exc:
            cause = exc.cause if isinstance(exc.cause, FreeholdError) else EngineFailed(f"the node failed: {exc.cause}")
            self._say({"n": number, "error": type(cause).__name__, "message": cause.message})
        except FreeholdError as exc:
            self._say({"n": number, "error": type(exc).__name__, "message": exc.message})
        except (RayError, OSError, ValueError, TimeoutError) as exc:
            text = f"{type(exc).__name__}: {str(exc).splitlines()[0] if str(exc) else ''}"
            self._say({"n": number, "error": "EngineFailed", "message": f"the cluster could not do it: {text}"})
        else:
            self._say({"n": number, "ok": answer})

    async def _nodes(self, _order: Mapping[str, Any]) -> Any:
        return await asyncio.to_thread(_nodes)

    async def _place(self, order: Mapping[str, Any]) -> dict[str, Any]:
        """Start an engine, each of its processes on its node, and go on to tell what happens to them."""
        number, members = order["n"], order["members"]
        group = await self._group(members, order["timeout_s"]) if len(members) > 1 else None
        hosts: list[Any] = []
        try:
            for rank, member in enumerate(members):
                strategy = (
                    NodeAffinitySchedulingStrategy(member["node"], soft=False)
                    if group is None
                    else PlacementGroupSchedulingStrategy(group, placement_group_bundle_index=rank)
                )
                name = order["name"] if group is None else f"{order['name']}:{rank}"
                hosts.append(self._host(EngineHost, name, member["needs"], strategy))
                self._hosts[number + rank] = hosts[-1]
            await asyncio.gather(*(self._ready(host, order, number) for host in hosts))
            started = await self._started(hosts, order)
        except BaseException:
            for rank in range(len(hosts)):
                self._end(number + rank)
            if group is not None:
                remove_placement_group(group)
            raise
        self._watch_all(number, hosts, group)
        return {"pids": [each["pid"] for each in started], "port": started[0]["port"]}

    async def _ready(self, host: Any, order: Mapping[str, Any], number: int) -> None:
        """Bring to a node all that the engine needs there."""
        await self._met(host, order["timeout_s"])
        for path, digest in order["files"].items():
            await self._copy(host, Path(path), digest, number)

    async def _started(self, hosts: Sequence[Any], order: Mapping[str, Any]) -> list[dict[str, Any]]:
        """Start an engine's processes; what each host answers."""
        members = order["members"]
        request = await hosts[0].request_certificate.remote(order["san"])
        certificate = self._authority.sign(request, name=order["san"])
        master = members[0]["host"]
        port = await hosts[0].port.remote(master) if len(hosts) > 1 else 0
        given = []
        for member in members:
            addresses = Addresses(member["host"], master, port)
            argv, env = addresses.in_arguments(member["argv"]), addresses.in_environment(member["env"])
            order_here = {"argv": argv, "env": env, "socket": order["socket"], "host": member["host"]}
            given.append({**order_here, "python": sys.executable, "package": str(PACKAGE), "digests": order["files"]})
        given[0] |= {"certificate": certificate, "authority": self._authority.certificate_pem}
        starts = (_awaited(host.start.remote(each)) for host, each in zip(hosts, given, strict=True))
        return list(await asyncio.gather(*starts))

    async def _group(self, members: Sequence[Mapping[str, Any]], timeout_s: float) -> Any:
        """Room for all processes at once, each on the node that was chosen for it."""
        bundles = [_bundle(member["needs"]) for member in members]
        labels = [{NODE_LABEL: member["node"]} for member in members]
        group = placement_group(bundles, strategy="PACK", bundle_label_selector=labels)
        try:
            async with asyncio.timeout(timeout_s):
                await group.ready()
        except BaseException as exc:
            remove_placement_group(group)
            if isinstance(exc, TimeoutError):
                raise NoRoom("The nodes did not have room for all processes at once.") from exc
            raise
        return group

    async def _gang(self, order: Mapping[str, Any]) -> list[int]:
        """Start all processes of a job at once, each on the node that was chosen for it; their ids."""
        number, members = order["n"], order["members"]
        group = await self._group(members, order["timeout_s"])
        hosts = []
        try:
            for rank, member in enumerate(members):
                strategy = PlacementGroupSchedulingStrategy(group, placement_group_bundle_index=rank)
                host = self._host(JobHost, f"{order['name']}:{rank}", member["needs"], strategy)
                self._hosts[number + rank] = host
                hosts.append(host)
            port = await hosts[0].port.remote(order["master"])
            given = [
                {**member["order"], "env": {**member["order"]["env"], "MASTER_PORT": str(port)}} for member in members
            ]
            pids = await asyncio.gather(*(_awaited(host.start.remote(g)) for host, g in zip(hosts, given, strict=True)))
        except BaseException:
            for rank in range(len(members)):
                self._end(number + rank)
            remove_placement_group(group)
            raise
        self._watch_all(number, hosts, group)
        return pids

    def _watch_all(self, number: int, hosts: Sequence[Any], group: Any) -> None:
        """Tell what happens to hosts; what was kept for them is given back when all have ended."""
        watched = [self._follow(number + rank, host) for rank, host in enumerate(hosts)]
        if group is not None:
            self._following[-number] = asyncio.create_task(_give_back(watched, group))

    async def _call(self, order: Mapping[str, Any]) -> None:
        """Ask a host for something; one that has gone has done it."""
        host = self._hosts.get(order["host"])
        if host is not None:
            try:
                await getattr(host, order["method"]).remote(*order["arguments"])
            except RayActorError:
                return

    def _host(self, kind: type, name: str, needs: Mapping[str, Any], strategy: Any) -> Any:
        made: Any = ray.remote(kind).options(
            name=f"{self._prefix}{name}",
            num_cpus=needs["cores"],
            num_gpus=needs["devices"],
            memory=needs["memory_bytes"],
            scheduling_strategy=strategy,
            max_concurrency=64,
            max_restarts=0,
            max_task_retries=0,
        )
        return made.remote()

    async def _met(self, host: Any, timeout_s: float) -> None:
        """Wait until an actor is there, with the same version of Freehold as here."""
        try:
            async with asyncio.timeout(timeout_s):
                about = await host.about.remote()
        except TimeoutError as exc:
            raise NoRoom(f"The node did not take the engine within {timeout_s:g} s.") from exc
        if about["version"] != freehold.__version__:
            raise EngineFailed(
                f"the node has Freehold {about['version']}, this machine {freehold.__version__}: install the same"
            )

    async def _copy(self, host: Any, path: Path, digest: str, number: int) -> None:
        """Bring a model to a node that does not have it."""
        if not await host.missing.remote(digest):
            return
        listing = await asyncio.to_thread(Listing.of, path, digest)
        if not await host.begin.remote(digest, listing.files):
            return
        done, on_the_way = 0, set[Any]()
        for name, size in listing.files:
            file = path / name if name else path
            for offset in range(0, size, PIECE_BYTES):
                piece = await asyncio.to_thread(_read, file, offset)
                on_the_way.add(asyncio.ensure_future(_awaited(host.take.remote(digest, name, offset, piece))))
                while len(on_the_way) >= IN_FLIGHT:
                    arrived, on_the_way = await asyncio.wait(on_the_way, return_when=asyncio.FIRST_COMPLETED)
                    for each in arrived:
                        each.result()
                done += len(piece)
                self._say({"n": number, "event": ["report", f"copying to the node {100 * done // listing.bytes} %"]})
        await asyncio.gather(*on_the_way)
        await host.finish.remote(digest)

    def _follow(self, number: int, host: Any) -> "asyncio.Task[None]":
        task = self._following[number] = asyncio.create_task(self._pass_on(number, host), name=f"host {number}")
        return task

    async def _pass_on(self, number: int, host: Any) -> None:
        """Tell what happens to a host until it ends, or cannot be reached any more."""
        loop = asyncio.get_running_loop()
        reached = loop.time()
        try:
            while True:
                try:
                    news = await host.news.remote()
                    reached = loop.time()
                except ActorUnavailableError:
                    if loop.time() - reached > SILENT_S and not await self._is_there(host):
                        raise
                    await asyncio.sleep(LOOK_S / 2)
                    continue
                for piece in news:
                    self._say({"n": number, "event": piece})
                    if piece[0] == "exit":
                        return
        except RayActorError as exc:
            why = str(exc).splitlines()[0] if str(exc) else type(exc).__name__
            self._say({"n": number, "event": ["exit", LOST_CODE, f"its node was lost: {why}"]})
        finally:
            self._end(number)

    async def _is_there(self, host: Any) -> bool:
        """Whether an actor answers after all."""
        try:
            async with asyncio.timeout(SILENT_S):
                await host.about.remote()
        except (RayActorError, TimeoutError):
            return False
        return True

    def _end(self, number: int) -> None:
        """End an actor, and with it all that it started."""
        host = self._hosts.pop(number, None)
        if host is not None:
            ray.kill(host)
        for task in (self._orders.get(number), self._following.pop(number, None)):
            if task is not None and task is not asyncio.current_task():
                task.cancel()


async def _awaited(reference: Any) -> Any:
    return await reference


async def _give_back(watched: "list[asyncio.Task[None]]", group: Any) -> None:
    await asyncio.wait(watched)
    remove_placement_group(group)


def _read(file: Path, offset: int) -> bytes:
    with file.open("rb") as opened:
        opened.seek(offset)
        return opened.read(PIECE_BYTES)


def _bundle(needs: Mapping[str, Any]) -> dict[str, float]:
    bundle = {"CPU": needs["cores"], "GPU": needs["devices"], "memory": needs["memory_bytes"]}
    return {name: value for name, value in bundle.items() if value} or {"CPU": 0.001}


def _nodes() -> list[list[Any]]:
    """The nodes: id, name, zone, address, whether it lives, what it has, and what of that is free."""
    free = available_resources_per_node()
    found = []
    for node in ray.nodes():
        labels = node.get("Labels") or {}
        kind = labels.get(KIND_LABEL) or labels.get("ray.io/accelerator-type")
        total, left = node["Resources"], free.get(node["NodeID"], {})
        amounts = [
            [each.get("CPU", 0.0), int(each.get("memory", 0)), int(each.get("GPU", 0)), kind] for each in (total, left)
        ]
        known = [node["NodeID"], node["NodeName"], labels.get(ZONE_LABEL), node["NodeManagerAddress"], node["Alive"]]
        found.append([*known, *amounts])
    return sorted(found)


async def serve(arguments: Mapping[str, Any], out: int) -> None:
    """Carry out orders until there are no more."""
    loop = asyncio.get_running_loop()

    def say(message: Mapping[str, Any]) -> None:
        os.write(out, orjson.dumps(message) + b"\n")

    authority = Authority.load_or_make(Path(arguments["folder"]))
    link = Link(arguments["prefix"], authority, say)
    if arguments["owner"]:
        await asyncio.to_thread(link.end_orphans)
    reader = asyncio.StreamReader(limit=1 << 26)
    await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), sys.stdin)
    say({"ready": await asyncio.to_thread(_nodes)})
    watching = asyncio.create_task(link.watch())
    async for line in reader:
        link.take(orjson.loads(line))
    watching.cancel()


def main() -> None:
    """Join the cluster and serve; the one argument is a JSON object (see `ray_wire.Arguments`)."""
    out = os.dup(1)
    os.dup2(2, 1)  # what libraries print is no message
    arguments = orjson.loads(sys.argv[1])
    try:
        ray.init(
            address=arguments["address"],
            namespace=NAMESPACE,
            log_to_driver=False,
            logging_level=logging.WARNING,
            **({"_node_ip_address": arguments["node_address"]} if arguments["node_address"] else {}),
        )
    except (RayError, OSError, ValueError, RuntimeError, ConnectionError) as exc:
        text = " ".join(str(exc).split())[:500]
        os.write(out, orjson.dumps({"refused": text}) + b"\n")
        sys.exit(1)
    asyncio.run(serve(arguments, out))


if __name__ == "__main__":
    main()
