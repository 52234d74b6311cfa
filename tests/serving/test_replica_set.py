import asyncio
import os
import signal
from collections.abc import Callable
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import pytest

from freehold.errors import DeploymentNotFound, EngineFailed, EngineUnavailable
from freehold.serving.supervisor import PromptKey
from freehold.types.engine import Feature
from tests.serving.trial import BOTH_LOOPS, PATIENCE_S, alive, answer, ask, eventually, pid_of, supervised, trial


@pytest.mark.slow
def test_a_change_of_the_model_keeps_serving(tmp_path: Path) -> None:
    """While new replicas replace old ones every request is answered, and in the end by the new ones alone."""

    async def main() -> None:
        async with supervised(tmp_path, trial(model="old", replicas=2)) as supervisor:
            await eventually(lambda: _ready(supervisor.status("chat").replicas) == 2, "two replicas")
            done = asyncio.Event()

            async def client() -> list[str]:
                seen = []
                while not done.is_set():
                    async with supervisor.acquire("chat") as lease:
                        await answer(lease, after_s=0.01)
                        seen.append(lease.traits.fingerprint)
                return seen

            clients = [asyncio.create_task(client()) for _ in range(3)]
            await supervisor.set(trial(model="new", replicas=2, options={"load_s": 0.3}))
            await eventually(
                lambda: [r.id for r in supervisor.status("chat").replicas] == ["chat-3", "chat-4"], "the new alone"
            )
            done.set()
            for seen in await asyncio.gather(*clients):
                assert {seen[0], seen[-1]} == {"old", "new"}
            assert (await supervisor.traits("chat")).fingerprint == "new"

    asyncio.run(main())


def test_a_change_that_never_becomes_ready_leaves_the_old_replicas(tmp_path: Path) -> None:
    """Where the new settings do not work the old replica goes on serving, and the error shows."""

    async def main() -> None:
        async with supervised(tmp_path, trial()) as supervisor:
            await supervisor.wait_ready("chat", PATIENCE_S)
            before = pid_of(supervisor)
            await supervisor.set(trial(options={"exit_with": 9}))
            await eventually(
                lambda: any("status 9" in (r.error or "") for r in supervisor.status("chat").replicas), "the error"
            )
            assert await ask(supervisor) == str(before)
            assert supervisor.status("chat").state == "ready"
            await supervisor.set(trial())
            await eventually(lambda: len(supervisor.status("chat").replicas) == 1, "one replica")
            await supervisor.wait_ready("chat", PATIENCE_S)

    asyncio.run(main())


def test_settings_that_the_engine_does_not_see_restart_nothing(tmp_path: Path) -> None:
    """Aliases, prices, fallbacks, defaults and the like change without touching the running process."""

    async def main() -> None:
        async with supervised(tmp_path, trial()) as supervisor:
            await supervisor.wait_ready("chat", PATIENCE_S)
            before = pid_of(supervisor)
            await supervisor.set(
                trial(
                    aliases=["gpt-4o"],
                    price={"input": "1.5"},
                    fallbacks=["other"],
                    defaults={"temperature": 0.5},
                    idle_unload_s=600,
                    queue=5,
                )
            )
            assert len(supervisor.status("chat").replicas) == 1
            assert await ask(supervisor) == str(before)

    asyncio.run(main())


def test_replicas_are_scaled_up_and_down_to_none(tmp_path: Path) -> None:
    """Scaling 1 to 3 to 0 starts and stops processes; at 0 a request is told so."""

    async def main() -> None:
        async with supervised(tmp_path, trial()) as supervisor:
            await supervisor.wait_ready("chat", PATIENCE_S)
            first = pid_of(supervisor)
            await supervisor.set(trial(replicas=3))
            await eventually(lambda: _ready(supervisor.status("chat").replicas) == 3, "three replicas")
            pids = {r.pid for r in supervisor.status("chat").replicas}
            assert first in pids
            assert len(pids) == 3
            await supervisor.set(trial(replicas=0))
            assert supervisor.status("chat").state == "stopped"
            with pytest.raises(EngineUnavailable, match="scaled to 0"):
                await ask(supervisor)
            await eventually(lambda: not supervisor.status("chat").replicas, "no replicas")
            assert not [pid for pid in pids if pid is not None and alive(pid)]
            assert (await supervisor.traits("chat")).features == {Feature.CHAT}

    asyncio.run(main())


@pytest.mark.slow
@BOTH_LOOPS
def test_what_is_loaded_on_demand_starts_once_and_is_unloaded_when_idle(
    tmp_path: Path, run: Callable[[Any], Any]
) -> None:
    """The first requests start one process between them; without requests it is stopped, and started anew."""

    async def main() -> None:
        starts = tmp_path / "starts"
        lazy = trial(start="on_demand", idle_unload_s=1.0, options={"load_s": 0.3, "starts_file": str(starts)})
        async with supervised(tmp_path, lazy) as supervisor:
            assert supervisor.status("chat").state == "unloaded"
            with pytest.raises(EngineUnavailable, match="not loaded"):
                await supervisor.wait_ready("chat", PATIENCE_S)
            assert not starts.exists()
            assert len(set(await asyncio.gather(*(ask(supervisor) for _ in range(5))))) == 1
            assert len(starts.read_text().split()) == 1
            async with supervisor.acquire("chat") as lease:
                assert await answer(lease, after_s=1.5) == str(pid_of(supervisor))
                assert supervisor.status("chat").state == "ready"
            await eventually(lambda: supervisor.status("chat").state == "unloaded", "unloading")
            await eventually(lambda: not alive(int(starts.read_text())), "the process's end")
            assert await ask(supervisor) == starts.read_text().split()[1]

    run(main())


def test_a_load_on_demand_that_fails_is_not_waited_for(tmp_path: Path) -> None:
    """A request that loads a deployment learns after a few failed starts why it cannot be served."""

    async def main() -> None:
        async with supervised(tmp_path, trial(start="on_demand", options={"exit_with": 4})) as supervisor:
            with pytest.raises(EngineUnavailable, match="status 4"):
                await supervisor.traits("chat")

    asyncio.run(main())


@pytest.mark.slow
def test_removing_waits_for_the_running_requests(tmp_path: Path) -> None:
    """A removed deployment is gone at once for new requests, and its engine ends after the running one."""

    async def main() -> None:
        async with supervised(tmp_path, trial()) as supervisor:
            await supervisor.wait_ready("chat", PATIENCE_S)
            pid = pid_of(supervisor)
            async with supervisor.acquire("chat") as lease:
                working = asyncio.create_task(answer(lease, after_s=1.0))
                removing = asyncio.create_task(supervisor.remove("chat"))
                await asyncio.sleep(0.1)
                with pytest.raises(DeploymentNotFound):
                    await ask(supervisor)
                assert await working == str(pid)
                assert alive(pid)
                assert not removing.done()
            await removing
            assert not alive(pid)
            assert supervisor.names() == []

    asyncio.run(main())


def test_stopping_does_not_wait_for_what_drains(tmp_path: Path) -> None:
    """Stopping cuts short the draining of a deployment that is being removed."""

    async def main() -> None:
        async with supervised(tmp_path, trial(), drain_s=600) as supervisor:
            await supervisor.wait_ready("chat", PATIENCE_S)
            pid = pid_of(supervisor)
            async with supervisor.acquire("chat") as lease:
                working = asyncio.create_task(answer(lease, after_s=600))
                removing = asyncio.create_task(supervisor.remove("chat"))
                await asyncio.sleep(0.1)
                await supervisor.stop()
                assert not alive(pid)
                await removing
                with pytest.raises(EngineFailed):
                    await working

    asyncio.run(main())


def test_those_who_wait_for_what_is_removed_are_told(tmp_path: Path) -> None:
    """A request that waits for a deployment which is then removed, or scaled to 0, does not wait on."""

    async def main() -> None:
        slow = {"load_s": 600}
        async with supervised(
            tmp_path,
            trial("removed", start="on_demand", options=slow),
            trial("scaled", start="on_demand", options=slow),
        ) as supervisor:
            waiting = [asyncio.create_task(ask(supervisor, name)) for name in ("removed", "scaled")]
            await eventually(lambda: supervisor.status("scaled").state == "starting", "the start")
            await supervisor.remove("removed")
            await supervisor.set(trial("scaled", replicas=0, start="on_demand", options=slow))
            with pytest.raises(DeploymentNotFound):
                await waiting[0]
            with pytest.raises(EngineUnavailable, match="scaled to 0"):
                await waiting[1]

    asyncio.run(main())


def test_a_removed_deployment_can_come_back_at_once(tmp_path: Path) -> None:
    """A deployment that is made again while its predecessor drains serves beside it, on replicas of its own."""

    async def main() -> None:
        async with supervised(tmp_path, trial(model="old")) as supervisor:
            await supervisor.wait_ready("chat", PATIENCE_S)
            async with supervisor.acquire("chat") as lease:
                removing = asyncio.create_task(supervisor.remove("chat"))
                await asyncio.sleep(0)
                await supervisor.set(trial(model="new"))
                await supervisor.wait_ready("chat", PATIENCE_S)
                async with supervisor.acquire("chat") as other:
                    assert (lease.traits.fingerprint, other.traits.fingerprint) == ("old", "new")
                    assert (lease.replica_id, other.replica_id) == ("chat-1", "chat-2")
                    assert await answer(lease) != await answer(other)
            await removing
            assert await ask(supervisor) == str(pid_of(supervisor))

    asyncio.run(main())


def test_draining_has_a_limit(tmp_path: Path) -> None:
    """A request that does not end in time is cut off, and the engine stops."""

    async def main() -> None:
        async with supervised(tmp_path, trial(), drain_s=0.3) as supervisor:
            await supervisor.wait_ready("chat", PATIENCE_S)
            async with supervisor.acquire("chat") as lease:
                working = asyncio.create_task(answer(lease, after_s=600))
                await supervisor.remove("chat")
                with pytest.raises(EngineFailed):
                    await working

    asyncio.run(main())


def test_the_least_busy_replica_is_chosen_and_some_are_avoided(tmp_path: Path) -> None:
    """Requests spread over the replicas; one to be avoided is never chosen, and its lack of an alternative told."""

    async def main() -> None:
        async with supervised(tmp_path, trial(replicas=3)) as supervisor:
            await eventually(lambda: _ready(supervisor.status("chat").replicas) == 3, "three replicas")
            everything = frozenset(replica.id for replica in supervisor.status("chat").replicas)
            async with AsyncExitStack() as stack:
                leases = [await stack.enter_async_context(supervisor.acquire("chat")) for _ in range(6)]
                counts = [replica.in_flight for replica in supervisor.status("chat").replicas]
                assert counts == [2, 2, 2]
                assert {lease.replica_id for lease in leases} == everything
            first, *others = sorted(everything)
            for _ in range(5):
                async with supervisor.acquire("chat", avoid=frozenset(others)) as lease:
                    assert lease.replica_id == first
            with pytest.raises(EngineUnavailable, match="No other replica"):
                async with supervisor.acquire("chat", avoid=everything):
                    pass

    asyncio.run(main())


def test_equal_texts_go_to_one_replica(tmp_path: Path) -> None:
    """Where replicas are equally busy, affinity decides, and different texts are spread."""

    async def main() -> None:
        async with supervised(tmp_path, trial(replicas=2)) as supervisor:
            await eventually(lambda: _ready(supervisor.status("chat").replicas) == 2, "two replicas")
            chosen: dict[str, set[str]] = {}
            for affinity in [f"prompt {number}" for number in range(20)] * 2:
                async with supervisor.acquire("chat", affinity=affinity) as lease:
                    chosen.setdefault(affinity, set()).add(lease.replica_id)
            assert all(len(ids) == 1 for ids in chosen.values())
            assert len({next(iter(ids)) for ids in chosen.values()}) == 2

    asyncio.run(main())


@pytest.mark.slow
def test_a_replica_with_the_features_goes_first(tmp_path: Path) -> None:
    """During a change to an engine that can do more, a request that needs it goes to the new replica, busy or not."""

    async def main() -> None:
        async with supervised(tmp_path, trial(replicas=2)) as supervisor:
            await eventually(lambda: _ready(supervisor.status("chat").replicas) == 2, "two replicas")
            async with supervisor.acquire("chat"), supervisor.acquire("chat"):
                # The second new replica is slow: one old one stays meanwhile.
                await supervisor.set(trial(replicas=2, options={"features": ["chat", "tools"], "load_s": 0.5}))
                await eventually(lambda: "chat-3" in _ready_ids(supervisor.status("chat").replicas), "a new replica")
                for _ in range(3):
                    async with supervisor.acquire("chat", frozenset({Feature.TOOLS})) as lease:
                        assert Feature.TOOLS in lease.traits.features

    asyncio.run(main())


def _ready(replicas: tuple[Any, ...]) -> int:
    return len(_ready_ids(replicas))


def _ready_ids(replicas: tuple[Any, ...]) -> list[str]:
    return [replica.id for replica in replicas if replica.state == "ready"]


def test_prompts_go_to_the_replica_that_has_read_their_beginning(tmp_path: Path) -> None:
    """With `prompt_cache_routing` on; a replica that started again has forgotten, and off is off at once."""

    async def main() -> None:
        async with supervised(tmp_path, trial(replicas=2, prompt_cache_routing="on")) as supervisor:
            await eventually(lambda: _ready(supervisor.status("chat").replicas) == 2, "two replicas")

            async def served(text: str) -> str:
                async with supervisor.acquire("chat", affinity=PromptKey(None, text.ljust(1000, "."))) as lease:
                    await answer(lease)
                    assert lease.watch is None
                    return lease.replica_id

            homes = {text: await served(text) for text in ("one", "two", "three", "four")}
            assert set(homes.values()) == {"chat-1", "chat-2"}
            assert {text: await served(text) for text in ("one", "one", "four", "three", "three", "two")} == homes
            cache = supervisor.status("chat").prompt_cache
            assert cache is not None
            assert (cache.by_prompt, cache.outcomes) == (True, {"known": 6, "elsewhere": 0, "new": 4})
            for replica in supervisor.status("chat").replicas:
                assert replica.pid is not None
                os.kill(replica.pid, signal.SIGKILL)
            await eventually(lambda: sum(r.restarts for r in supervisor.status("chat").replicas) == 2, "restarts")
            await eventually(lambda: _ready(supervisor.status("chat").replicas) == 2, "two replicas")
            await served("one")
            cache = supervisor.status("chat").prompt_cache
            assert cache is not None
            assert cache.outcomes["new"] == 5
            await supervisor.set(trial(replicas=2, prompt_cache_routing="off"))
            assert {await served("one") for _ in range(4)} == {"chat-1", "chat-2"}

    asyncio.run(main())
