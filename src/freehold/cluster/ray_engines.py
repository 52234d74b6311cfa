"""Engines on the nodes of a Ray cluster: placed, found again, and taken over."""

import asyncio
import secrets
import sys
from collections.abc import Collection, Mapping, Sequence
from contextlib import suppress
from functools import partial
from typing import Any, Final

import ray
from ray.exceptions import ActorUnavailableError, GetTimeoutError, RayActorError, RayTaskError
from ray.util import list_named_actors
from ray.util.placement_group import get_placement_group, placement_group_table, remove_placement_group
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy, PlacementGroupSchedulingStrategy

from freehold.cluster.authority import Authority
from freehold.cluster.host import PACKAGE, EngineHost, leave_process
from freehold.cluster.ray_hosts import Held, Hosts, awaited, in_time
from freehold.cluster.ray_leaving import leave_group
from freehold.cluster.ray_sending import make_ready
from freehold.cluster.spanning import Addresses
from freehold.errors import NotFound

_PREFIX: Final = "engine:"
_RECORD_S: Final = 30.0
"""How long a host may take to tell what it has: longer than the cluster takes to miss a node that is lost."""
_OWNED: Final = "@"
"""Between a placement group's name and the gateway that made it."""


class Engines:
    """See above.

    Args:
        hosts: takes the actors.
        authority: signs the relays' certificates.
        owner: this gateway's name.
        grace_s: after how long without any gateway an engine ends.
    """

    def __init__(self, hosts: Hosts, authority: Authority, owner: str, grace_s: float) -> None:
        self._hosts = hosts
        self._authority = authority
        self._owner = owner
        self._grace_s = grace_s
        self._link = secrets.token_hex(8)
        self._placing = set[str]()

    async def place(self, order: Mapping[str, Any]) -> dict[str, Any]:
        """Start an engine, each of its processes on its node, and go on to tell what happens to them."""
        name = _PREFIX + order["name"]
        self._placing.add(name)
        try:
            return await self._place(order, name)
        finally:
            self._placing.discard(name)

    async def _place(self, order: Mapping[str, Any], name: str) -> dict[str, Any]:
        number, members = order["n"], order["members"]
        named = f"{name}{_OWNED}{self._owner}" if len(members) > 1 else ""
        group = await self._hosts.group(members, order["timeout_s"], named) if named else None
        leave = partial(leave_group, named) if named else leave_process
        actors: list[Any] = []
        try:
            for rank, member in enumerate(members):
                strategy = (
                    NodeAffinitySchedulingStrategy(member["node"], soft=False)
                    if group is None
                    else PlacementGroupSchedulingStrategy(group, placement_group_bundle_index=rank)
                )
                held = (self._hand(number + rank), self._owner, order["epoch"])
                actor = self._hosts.make(
                    EngineHost, _of_rank(name, rank), member["needs"], strategy, *held, self._grace_s, leave
                )
                actors.append(actor)
                self._hosts.held[number + rank] = Held(actor, held[0], order["epoch"], _of_rank(name, rank))
            report = partial(self._report, number)
            await asyncio.gather(*(make_ready(actor, order, report) for actor in actors))
            started = await self._started(actors, order, named)
        except BaseException:
            for rank in range(len(actors)):
                self._hosts.end(number + rank)
            if group is not None:
                remove_placement_group(group)
            raise
        self._hosts.follow(number, len(actors), group)
        return {"pids": [each["pid"] for each in started], "port": started[0]["port"], "group": named}

    async def hosted(self, _order: Mapping[str, Any]) -> list[dict[str, Any]]:
        """What is known of the engines of this home that are in other hands, or in nobody's."""
        there = await asyncio.to_thread(list_named_actors)
        names = [name for name in there if name.startswith(_PREFIX) and name.count(":") == 1]
        found = await asyncio.gather(*(self._record(name) for name in names))
        return [record for record in found if record is not None]

    async def attach(self, order: Mapping[str, Any]) -> dict[str, Any]:
        """Take an engine into these hands, and go on to tell what happens to it."""
        number, count, name = order["n"], order["count"], _PREFIX + order["name"]
        gone = NotFound("The engine has ended.")
        try:
            actors = [await asyncio.to_thread(ray.get_actor, _of_rank(name, rank)) for rank in range(count)]
            group = await asyncio.to_thread(get_placement_group, order["group"]) if order["group"] else None
        except ValueError as exc:
            raise gone from exc
        hands = [self._hand(number + rank) for rank in range(count)]
        said = (self._owner, order["epoch"], order["workload"])
        calls = (in_time(a.attach.remote(h, *said)) for a, h in zip(actors, hands, strict=True))
        try:
            answers = await asyncio.gather(*calls, return_exceptions=True)
        except BaseException:  # it is not wanted any more
            _let_go(actors, hands)
            raise
        failures = [answer for answer in answers if isinstance(answer, BaseException)]
        over = any(map(_is_over, failures))
        if failures and not over:  # another gateway has it, or a node does not answer just now
            _let_go(actors, hands)
            raise failures[0]
        for rank, (actor, hand, answer) in enumerate(zip(actors, hands, answers, strict=True)):
            if not isinstance(answer, BaseException):
                self._hosts.held[number + rank] = Held(actor, hand, order["epoch"], _of_rank(name, rank))
        if over:
            for rank in range(count):  # without one of its processes it is of no use
                self._hosts.end(number + rank)
            if group is not None:
                remove_placement_group(group)
            raise gone
        self._hosts.follow(number, count, group)
        return {"pids": answers}

    async def lead(self, order: Mapping[str, Any]) -> None:
        """Have what is in these hands in the name of a later epoch; give back the room of engines that have ended.

        That of other gateways' too: who decides from now on knows that none of them places anything.
        """
        await self._hosts.renew(order["hosts"], order["epoch"])
        await asyncio.to_thread(give_back_groups, None, self._placing)

    async def _record(self, name: str) -> dict[str, Any] | None:
        """What an actor says of itself; None where it does not, is in these hands, or has no engine that runs.

        What this gateway was about to start when it, or its process for Ray, was killed is ended.
        """
        if self._is_here(name):
            return None
        try:
            actor = await asyncio.to_thread(ray.get_actor, name)
            async with asyncio.timeout(_RECORD_S):
                record: dict[str, Any] = await actor.record.remote()
        except (ValueError, TimeoutError, GetTimeoutError, RayActorError, RayTaskError) as exc:
            sys.stderr.write(f"{name} does not tell what it has: {type(exc).__name__}\n")
            return None
        if record["runs"]:
            return {"name": name.removeprefix(_PREFIX), **record}
        if record["owner"] == self._owner and not self._is_here(name):
            ray.kill(actor)
        return None

    def _is_here(self, name: str) -> bool:
        return any(held.name == name for held in self._hosts.held.values())

    def _report(self, number: int, text: str) -> None:
        self._hosts.say({"n": number, "event": ["report", text]})

    async def _started(self, actors: Sequence[Any], order: Mapping[str, Any], group: str) -> list[dict[str, Any]]:
        """Start an engine's processes, in a group of that name; what each host answers."""
        members = order["members"]
        request = await actors[0].request_certificate.remote(order["san"])
        certificate = self._authority.sign(request, name=order["san"])
        master = members[0]["host"]
        port = await actors[0].port.remote(master) if len(actors) > 1 else 0
        given = []
        for member in members:
            addresses = Addresses(member["host"], master, port)
            argv, env = addresses.in_arguments(member["argv"]), addresses.in_environment(member["env"])
            here = {"argv": argv, "env": env, "socket": order["socket"], "host": member["host"], "record": {}}
            given.append({**here, "python": sys.executable, "package": str(PACKAGE), "digests": order["files"]})
        given[0] |= {"certificate": certificate, "authority": self._authority.certificate_pem}
        given[0] |= {"record": {**order["record"], "group": group}}
        starts = (awaited(actor.start.remote(each)) for actor, each in zip(actors, given, strict=True))
        return list(await asyncio.gather(*starts))

    def _hand(self, number: int) -> str:
        """A name that no other hand has."""
        return f"{self._link}.{number}"


def give_back_groups(owner: str | None, placing: Collection[str] = ()) -> None:
    """Give back the room for engines over several nodes that have ended, which nobody did who had them.

    Args:
        owner: the gateway whose earlier run had it; None for any of the home.
        placing: the names of engines that may just begin to use theirs.
    """
    groups = placement_group_table().values()
    there = {*placing, *list_named_actors()}  # in this order: what is begun meanwhile is in neither, or in these
    for group in groups:
        name, sign, whose = group["name"].partition(_OWNED)
        if sign and owner in {None, whose} and name not in there and group["state"] != "REMOVED":
            with suppress(ValueError):  # it is of another home
                remove_placement_group(get_placement_group(group["name"]))


def _let_go(actors: Sequence[Any], hands: Sequence[str]) -> None:
    """Leave hosts to whoever takes them, as far as they are in these hands."""
    for actor, hand in zip(actors, hands, strict=True):
        actor.release.remote(hand)


def _is_over(failure: BaseException) -> bool:
    """Whether an engine has ended, by how it could not be taken."""
    if isinstance(failure, RayTaskError):
        return isinstance(failure.cause, NotFound)
    return isinstance(failure, RayActorError) and not isinstance(failure, ActorUnavailableError)


def _of_rank(name: str, rank: int) -> str:
    """The name of the host of an engine's process."""
    return f"{name}:{rank}" if rank else name
