"""The process of a gateway that speaks Ray: it makes actors of `freehold.cluster.host` and passes on what they say.

A process of its own, because Ray's native code ends the one it is in when the cluster's head cannot be reached for a
minute, and a gateway that loses its cluster still has to answer. It reads orders as lines of JSON on standard input and
writes lines of JSON on standard output; both are told in `freehold.cluster.ray_wire`. When it ends, so do its actors
that are of jobs. Those of engines end when it is told to close; where it ends otherwise, they go on for whoever takes
them over.
"""

import asyncio
import logging
import os
import sys
from collections.abc import Awaitable, Callable, Coroutine, Mapping
from contextlib import suppress
from typing import Any, Final

import orjson
import ray
from ray._private.state import available_resources_per_node  # of no public form; Ray's own libraries use it so
from ray._private.worker import global_worker  # likewise
from ray.exceptions import RayActorError, RayError, RayTaskError
from ray.util import list_named_actors
from ray.util.placement_group import remove_placement_group
from ray.util.scheduling_strategies import PlacementGroupSchedulingStrategy

from freehold.cluster.authority import Authority
from freehold.cluster.base import ignore
from freehold.cluster.host import JobHost, leave_process
from freehold.cluster.ray_engines import Engines, give_back_groups
from freehold.cluster.ray_hosts import Held, Hosts, awaited
from freehold.cluster.ray_sending import make_ready
from freehold.cluster.ray_wire import KIND_LABEL, ZONE_LABEL
from freehold.errors import EngineFailed, FreeholdError

LOOK_S: Final = 1.0
"""How often the nodes are looked at."""


class Link:
    """Carries out orders.

    Args:
        arguments: see `freehold.cluster.ray_wire`.
        authority: signs the relays' certificates.
        say: writes a message.
    """

    def __init__(
        self, arguments: Mapping[str, Any], authority: Authority, say: Callable[[Mapping[str, Any]], None]
    ) -> None:
        self._prefix: str = arguments["prefix"]
        self._gateway: str = arguments["gateway"]
        self._say = say
        self._hosts = Hosts(say)
        self._engines = Engines(self._hosts, authority, self._gateway, arguments["orphan_grace_s"])
        self._orders: dict[int, asyncio.Task[None]] = {}

    def end_orphans(self) -> None:
        """End the actors of jobs that an earlier run of this home's gateway left, and the room of ended engines."""
        for name in list_named_actors():
            if name.startswith(self._prefix):
                with suppress(ValueError):  # it has ended meanwhile
                    ray.kill(ray.get_actor(name))
        give_back_groups(self._gateway)

    def take(self, order: Mapping[str, Any]) -> None:
        """Carry out an order, beside the others."""
        number = order["n"]
        if order["do"] in {"end", "let_go"}:
            self._end(order["host"], goes_on=order["do"] == "let_go")
            return
        does = {
            "nodes": self._nodes,
            "place": self._engines.place,
            "hosted": self._engines.hosted,
            "attach": self._engines.attach,
            "lead": self._engines.lead,
            "release": self._release,
            "gang": self._gang,
            "call": self._call,
        }[order["do"]]
        self._begin(number, self._answer(number, does(order)))

    async def watch(self) -> None:
        """Tell of the nodes whenever there are others, or they are otherwise."""
        before: Any = None
        while True:
            now = await asyncio.to_thread(_nodes)
            if [node[:-1] for node in now] != before:
                before = [node[:-1] for node in now]
                self._say({"nodes": now})
            await asyncio.sleep(LOOK_S)

    async def close(self) -> None:
        """End all that was placed from here and not released."""
        for task in self._orders.values():
            task.cancel()
        if self._orders:
            await asyncio.wait(set(self._orders.values()))
        await self._hosts.close()

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

    async def _gang(self, order: Mapping[str, Any]) -> list[int]:
        """Start all processes of a job at once, each on the node that was chosen for it; their ids."""
        number, members = order["n"], order["members"]
        group = await self._hosts.group(members, order["timeout_s"])
        hosts = []
        try:
            for rank, member in enumerate(members):
                strategy = PlacementGroupSchedulingStrategy(group, placement_group_bundle_index=rank)
                name = f"{self._prefix}{order['name']}:{rank}"
                host = self._hosts.make(JobHost, name, member["needs"], strategy)
                self._hosts.held[number + rank] = Held(host)
                hosts.append(host)
            await asyncio.gather(*(make_ready(host, order, ignore) for host in hosts))
            port = await hosts[0].port.remote(order["master"])
            own = {"digests": order["files"]}
            given = [
                {**member["order"], **own, "env": {**member["order"]["env"], "MASTER_PORT": str(port)}}
                for member in members
            ]
            pids = await asyncio.gather(*(awaited(host.start.remote(g)) for host, g in zip(hosts, given, strict=True)))
        except BaseException:
            for rank in range(len(members)):
                self._hosts.end(number + rank)
            remove_placement_group(group)
            raise
        self._hosts.follow(number, len(hosts), group)
        return pids

    async def _call(self, order: Mapping[str, Any]) -> None:
        """Ask a host for something; one that has gone has done it."""
        held = self._hosts.held.get(order["host"])
        if held is not None:
            try:
                await held.call(order["method"], *order["arguments"])
            except RayActorError:
                return

    async def _release(self, order: Mapping[str, Any]) -> None:
        """Leave a host to whoever takes it."""
        try:
            await self._hosts.release(order["host"])
        except RayActorError:
            return

    def _end(self, number: int, *, goes_on: bool) -> None:
        """End a host, or leave it to whoever takes it, and what is still on its way to it."""
        task = self._orders.get(number)
        if task is not None:
            task.cancel()
        if goes_on:
            self._begin(-number, self._release({"host": number}))
        else:
            self._hosts.end(number)

    def _begin(self, number: int, work: Coroutine[Any, Any, None]) -> None:
        task = self._orders[number] = asyncio.create_task(work, name=f"order {number}")
        task.add_done_callback(lambda _: self._orders.pop(number, None))


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


def _cluster() -> str:
    """The name that the cluster has by itself; it is another one when its head has begun anew, with nothing."""
    return str(global_worker.gcs_client.cluster_id.hex())


async def serve(arguments: Mapping[str, Any], out: int) -> None:
    """Carry out orders until told to close; without a gateway, leave at once and undo nothing: others take it over."""
    loop = asyncio.get_running_loop()

    def say(message: Mapping[str, Any]) -> None:
        try:
            os.write(out, orjson.dumps(message) + b"\n")
        except BrokenPipeError:
            leave_process()

    reader = asyncio.StreamReader(limit=1 << 26)
    await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), sys.stdin)
    given = orjson.loads(await reader.readline())["authority"]
    authority = Authority.of_pem(given["key"].encode(), given["certificate"].encode())
    link = Link(arguments, authority, say)
    await asyncio.to_thread(link.end_orphans)
    say({"ready": await asyncio.to_thread(_nodes), "cluster": _cluster()})
    watching = asyncio.create_task(link.watch())
    async for line in reader:
        order = orjson.loads(line)
        if order["do"] == "close":
            await link.close()
            watching.cancel()
            return
        link.take(order)
    leave_process()


def main() -> None:
    """Join the cluster and serve; the one argument is a JSON object (see `ray_wire.Arguments`)."""
    out = os.dup(1)
    os.dup2(2, 1)  # what libraries print is no message
    arguments = orjson.loads(sys.argv[1])
    try:
        ray.init(
            address=arguments["address"],
            namespace=arguments["namespace"],
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
