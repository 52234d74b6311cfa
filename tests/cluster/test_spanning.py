"""An engine of several processes is one: whichever of them ends, all have, and who ended first is told."""

import asyncio
import sys
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest

from freehold.cluster.base import Part, Placement
from freehold.cluster.local import LocalCluster
from freehold.cluster.process import EngineProcess
from freehold.cluster.spanning import Addresses, Spanned, numbered
from freehold.errors import ConfigError
from freehold.types.cluster import MASTER_ADDRESS, MASTER_PORT, OWN_ADDRESS, Resources

SLEEPER = "import sys, time; print(sys.argv[1], flush=True); time.sleep(600)"
PATIENCE_S = 60.0


def _run(scenario: Callable[[Spanned, list[EngineProcess], list[str]], Awaitable[None]], *scripts: str) -> None:
    """Run it with an engine of so many processes."""

    async def main() -> None:
        lines: list[str] = []
        async with asyncio.timeout(PATIENCE_S):
            members = [
                await EngineProcess.start((sys.executable, "-c", script, str(rank)), {}, numbered(rank, lines.append))
                for rank, script in enumerate(scripts)
            ]
            engine = Spanned(members, [f"node{rank}" for rank in range(len(members))])
            try:
                await scenario(engine, members, lines)
            finally:
                await engine.kill()
        assert engine.exited.done()

    asyncio.run(main())


def test_when_one_process_is_killed_so_are_the_others() -> None:
    """A process that is killed takes the others along, and the engine's end names its node."""

    async def scenario(engine: Spanned, members: list[EngineProcess], lines: list[str]) -> None:
        while len(lines) < 3:  # noqa: ASYNC110  # another process sets no event
            await asyncio.sleep(0.02)
        assert sorted(lines) == ["0", "[1] 1", "[2] 2"]
        assert engine.pid == members[0].pid
        await members[1].kill()
        await asyncio.wait({engine.exited})
        assert all(member.exited.done() for member in members)
        assert "3 processes the one on 'node1' ended: the engine was ended by SIGKILL" in engine.describe_exit()
        assert list(engine.tail) == ["1"]

    _run(scenario, SLEEPER, SLEEPER, SLEEPER)


def test_a_process_that_ends_in_good_order_has_failed_the_engine() -> None:
    """An engine of which one process has ended by itself has failed, whatever that process says."""

    async def scenario(engine: Spanned, _members: list[EngineProcess], _lines: list[str]) -> None:
        await asyncio.wait({engine.exited})
        assert engine.exited.result() == 1
        assert "'node1' ended: the engine exited with status 0" in engine.describe_exit()

    _run(scenario, SLEEPER, "pass")


def test_all_processes_are_asked_to_end() -> None:
    """An engine that is asked to end has ended when all its processes have, each by itself."""

    async def scenario(engine: Spanned, members: list[EngineProcess], _lines: list[str]) -> None:
        await engine.terminate(PATIENCE_S)
        assert [member.exited.result() for member in members] == [-15, -15]
        assert engine.exited.result() == -15
        await engine.read_rest()

    _run(scenario, SLEEPER, SLEEPER)


def test_addresses_are_put_in_where_they_stand() -> None:
    """Arguments, also in JSON, and environment get the addresses of the node and of the first process."""
    addresses = Addresses("10.0.0.7", "10.0.0.1", 4711)
    argv = addresses.in_arguments(["vllm", f'{{"arguments": ["--master-addr", "{MASTER_ADDRESS}"]}}', MASTER_PORT])
    assert argv == ["vllm", '{"arguments": ["--master-addr", "10.0.0.1"]}', "4711"]
    assert addresses.in_environment({"VLLM_HOST_IP": OWN_ADDRESS, "A": "b"}) == {"VLLM_HOST_IP": "10.0.0.7", "A": "b"}


def test_one_machine_takes_no_engine_of_several_nodes(tmp_path: Path) -> None:
    """Without a cluster an engine that spans nodes is refused, and told how to have more."""
    argv, needs = (sys.executable, "-c", SLEEPER, "0"), Resources(devices=2)
    other = Part(argv, {}, needs)
    placement = Placement("big-1", argv, {}, needs, None, {}, tmp_path / "s", others=(other,))
    assert placement.members == (needs, needs)
    with pytest.raises(ConfigError, match="has 2 processes, each on a node of its own"):
        asyncio.run(LocalCluster(Resources(devices=4)).place(placement, print))
