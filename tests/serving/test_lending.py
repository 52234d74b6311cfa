"""How busy replicas are lent, with real engine processes; what the queue itself does is in test_queue.py."""

import asyncio
import itertools
import os
import signal
from contextlib import AsyncExitStack
from pathlib import Path

import pytest

from freehold.errors import DeploymentNotFound, EngineUnavailable, Overloaded
from freehold.types.engine import Feature, Tier
from tests.serving.trial import PATIENCE_S, QUICK, Client, all_ready, eventually, idle, pid_of, supervised, trial


def test_a_busy_replica_serves_the_next_when_it_is_free(tmp_path: Path) -> None:
    """Beyond `parallel` requests wait, and are served by tier, within a tier in the order of their coming."""

    async def main() -> None:
        async with supervised(tmp_path, trial(parallel=2)) as supervisor:
            await all_ready(supervisor, 1)
            running = [Client(supervisor), Client(supervisor)]
            tiers = [Tier.FLEX, Tier.DEFAULT, Tier.PRIORITY, Tier.DEFAULT, Tier.PRIORITY, Tier.FLEX]
            waiting = [Client(supervisor, tier) for tier in tiers]
            await asyncio.sleep(0)
            assert supervisor.status("chat").waiting == 6
            for number in (2, 4, 1, 3, 0, 5):
                await running.pop(0).end()
                await asyncio.sleep(0)
                assert waiting[number].lease is not None
                assert supervisor.status("chat").replicas[0].in_flight == 2
                running.append(waiting[number])
            for client in running:
                await client.end()
            assert idle(supervisor)

    asyncio.run(main())


def test_a_full_queue_refuses_the_lowest_tier(tmp_path: Path) -> None:
    """At most `queue` wait: equals are refused, and a higher tier takes the place of the last of the lowest."""

    async def main() -> None:
        async with supervised(tmp_path, trial(parallel=1, queue=2)) as supervisor:
            await all_ready(supervisor, 1)
            running = Client(supervisor)
            flex, default = Client(supervisor, Tier.FLEX), Client(supervisor)
            await asyncio.sleep(0)
            with pytest.raises(Overloaded, match=r"`chat`.*`flex`"):
                await Client(supervisor, Tier.FLEX).task
            second = Client(supervisor)
            with pytest.raises(Overloaded) as caught:
                await flex.task
            assert caught.value.retry_after_s == 1.0
            assert supervisor.status("chat").waiting == 2
            await supervisor.set(trial(parallel=1, queue=1))
            with pytest.raises(Overloaded):
                await second.task
            for client in (running, default):
                await client.end()
            assert idle(supervisor)

    asyncio.run(main())


def test_who_has_a_fallback_does_not_queue(tmp_path: Path) -> None:
    """Without patience, or with a queue of length 0, a request is refused at once where every replica is busy."""

    async def main() -> None:
        async with supervised(tmp_path, trial(parallel=1)) as supervisor:
            await all_ready(supervisor, 1)
            running = Client(supervisor)
            await asyncio.sleep(0)
            with pytest.raises(Overloaded):
                await Client(supervisor, patience_s=0).task
            await supervisor.set(trial(parallel=1, queue=0))
            with pytest.raises(Overloaded):
                await Client(supervisor, Tier.PRIORITY).task
            await running.end()
            assert idle(supervisor)

    asyncio.run(main())


def test_a_load_on_demand_is_no_queue(tmp_path: Path) -> None:
    """With a queue of length 0 as many requests wait for a load as the replica then serves at once."""

    async def main() -> None:
        lazy = trial(parallel=2, queue=0, start="on_demand", options={"load_s": 0.3})
        async with supervised(tmp_path, lazy) as supervisor:
            first, second = Client(supervisor), Client(supervisor)
            await asyncio.sleep(0)
            with pytest.raises(Overloaded):
                await Client(supervisor).task
            await eventually(lambda: first.lease is not None and second.lease is not None, "both leases")
            await first.end()
            await second.end()

    asyncio.run(main())


def test_of_those_that_wait_for_a_start_the_urgent_go_first(tmp_path: Path) -> None:
    """When a replica becomes ready its slots go to the higher tiers, and of the rest no more stay than may."""

    async def main() -> None:
        async with supervised(tmp_path, trial(parallel=2, queue=3, options={"load_s": 0.3})) as supervisor:
            flex = [Client(supervisor, Tier.FLEX) for _ in range(3)]
            await asyncio.sleep(0)
            urgent = [Client(supervisor, Tier.PRIORITY) for _ in range(2)]
            await eventually(lambda: all(client.lease is not None for client in urgent), "the urgent ones' leases")
            refused = [client for client in flex if client.task.done()]
            assert len(refused) == 2
            for client in refused:
                with pytest.raises(Overloaded):
                    await client.task
            for client in (*urgent, flex[0]):
                await client.end()
            assert idle(supervisor)

    asyncio.run(main())


def test_features_and_affinity_choose_among_the_free(tmp_path: Path) -> None:
    """A busy replica gets nothing, though it were the one for the text; what is avoided is not waited for."""

    async def main() -> None:
        async with supervised(tmp_path, trial(replicas=2, parallel=1)) as supervisor:
            await all_ready(supervisor, 2)
            async with AsyncExitStack() as stack:
                first, second = [
                    await stack.enter_async_context(supervisor.acquire("chat", affinity="a text")) for _ in range(2)
                ]
                assert first.replica_id != second.replica_id
            async with supervisor.acquire("chat", affinity="a text") as again:
                assert again.replica_id == first.replica_id
                one = frozenset({first.replica_id})
                async with supervisor.acquire("chat", frozenset({Feature.TOOLS}), avoid=one) as other:
                    assert other.replica_id == second.replica_id
                    with pytest.raises(EngineUnavailable, match="No other replica"):
                        async with supervisor.acquire("chat", avoid=one | {other.replica_id}):
                            pass

    asyncio.run(main())


def test_one_that_cannot_use_the_free_replica_holds_up_nobody(tmp_path: Path) -> None:
    """A waiter that avoids the replica which comes free is passed over, and served by the other one."""

    async def main() -> None:
        async with supervised(tmp_path, trial(replicas=2, parallel=1)) as supervisor:
            await all_ready(supervisor, 2)
            first, second = Client(supervisor), Client(supervisor)
            await eventually(lambda: first.lease is not None and second.lease is not None, "both leases")
            assert first.lease is not None
            assert second.lease is not None
            avoid = frozenset({first.lease.replica_id})

            async def choosy() -> str:
                async with supervisor.acquire("chat", avoid=avoid, tier=Tier.PRIORITY) as lease:
                    return lease.replica_id

            picky = asyncio.create_task(choosy())
            await asyncio.sleep(0)
            plain = Client(supervisor, Tier.FLEX)
            await asyncio.sleep(0)
            await first.end()
            await asyncio.sleep(0)
            assert plain.lease is not None
            assert not picky.done()
            second_id = second.lease.replica_id
            await second.end()
            assert await picky == second_id
            await plain.end()

    asyncio.run(main())


def test_more_replicas_serve_those_that_wait(tmp_path: Path) -> None:
    """Scaling up, and a change to more slots, reaches requests that wait already."""

    async def main() -> None:
        async with supervised(tmp_path, trial(parallel=1)) as supervisor:
            await all_ready(supervisor, 1)
            clients = [Client(supervisor) for _ in range(3)]
            await asyncio.sleep(0)
            await supervisor.set(trial(parallel=1, replicas=2))
            await eventually(lambda: supervisor.status("chat").waiting == 1, "the second one's turn")
            await supervisor.set(trial(parallel=4, replicas=2))
            await eventually(lambda: supervisor.status("chat").waiting == 0, "the third one's turn")
            for client in clients:
                await client.end()
            await eventually(lambda: idle(supervisor), "idleness")

    asyncio.run(main())


def test_those_in_the_queue_learn_that_it_is_closed(tmp_path: Path) -> None:
    """Requests in the queue of a deployment that is scaled to 0 or removed are told so at once."""

    async def main() -> None:
        async with supervised(tmp_path, trial(parallel=1)) as supervisor:
            await all_ready(supervisor, 1)
            running, waiting = Client(supervisor), Client(supervisor)
            await asyncio.sleep(0)
            await supervisor.set(trial(parallel=1, replicas=0))
            with pytest.raises(EngineUnavailable, match="scaled to 0"):
                await waiting.task
            await running.end()
            await supervisor.set(trial(parallel=1))
            running, waiting = Client(supervisor), Client(supervisor)
            await eventually(lambda: supervisor.status("chat").waiting == 1, "one that waits")
            removing = asyncio.create_task(supervisor.remove("chat"))
            with pytest.raises(DeploymentNotFound):
                await waiting.task
            await running.end()
            await removing

    asyncio.run(main())


def test_a_crash_gives_those_in_the_queue_their_patience_anew(tmp_path: Path) -> None:
    """A request that waited long for a slot still waits for the replica's restart, and is served by it."""

    async def main() -> None:
        async with supervised(tmp_path, trial(parallel=1)) as supervisor:
            await all_ready(supervisor, 1)
            running = Client(supervisor)
            waiting = Client(supervisor, patience_s=PATIENCE_S)
            hasty = Client(supervisor, patience_s=0.01)
            await asyncio.sleep(0.1)
            assert supervisor.status("chat").waiting == 2
            os.killpg(pid_of(supervisor), signal.SIGKILL)
            with pytest.raises(EngineUnavailable):
                await hasty.task
            await running.end()
            await eventually(lambda: waiting.lease is not None, "a lease on the new process")
            await waiting.end()
            assert idle(supervisor)

    asyncio.run(main())


def test_a_slot_on_a_suspect_replica_is_lent_when_it_is_cleared(tmp_path: Path) -> None:
    """Requests that queue for a replica which comes under suspicion get it after its next good probe."""

    async def main() -> None:
        settings = QUICK.model_copy(update={"probe_interval_s": 60.0, "probe_timeout_s": 60.0})
        async with supervised(tmp_path, trial(parallel=1), settings=settings) as supervisor:
            await supervisor.wait_ready("chat", PATIENCE_S)
            running = Client(supervisor)
            waiting = [Client(supervisor, patience_s=PATIENCE_S) for _ in range(2)]
            await asyncio.sleep(0)
            os.killpg(pid_of(supervisor), signal.SIGSTOP)
            assert running.lease is not None
            running.lease.report(EngineUnavailable("no answer"))
            await running.end()
            await asyncio.sleep(0.05)
            assert supervisor.status("chat").waiting == 2
            os.killpg(pid_of(supervisor), signal.SIGCONT)
            for client in waiting:
                await eventually(lambda client=client: client.lease is not None, "a lease")  # type: ignore[misc]
                await client.end()

    asyncio.run(main())


def test_a_thousand_that_go_away_leave_nothing(tmp_path: Path) -> None:
    """1,000 cancelled waiters leave the queue empty, and the next request is served at once."""

    async def main() -> None:
        async with supervised(tmp_path, trial(parallel=1)) as supervisor:
            await all_ready(supervisor, 1)
            running = Client(supervisor)
            waiting = [Client(supervisor, tier) for _, tier in zip(range(1000), itertools.cycle(Tier), strict=False)]
            await asyncio.sleep(0)
            assert supervisor.status("chat").waiting == 1000
            for client in waiting:
                client.task.cancel()
            await asyncio.wait([client.task for client in waiting])
            assert supervisor.status("chat").waiting == 0
            await running.end()
            async with supervisor.acquire("chat", patience_s=0):
                pass
            assert idle(supervisor)

    asyncio.run(main())


def test_a_slot_that_comes_with_the_cancellation_is_not_lost(tmp_path: Path) -> None:
    """A waiter that is cancelled in the very step in which it is served passes its slot on."""

    async def main() -> None:
        async with supervised(tmp_path, trial(parallel=1)) as supervisor:
            await all_ready(supervisor, 1)
            async with supervisor.acquire("chat"):
                cancelled, after = Client(supervisor), Client(supervisor)
                await asyncio.sleep(0)
            assert supervisor.status("chat").waiting == 1
            cancelled.task.cancel()
            await asyncio.wait([cancelled.task])
            assert cancelled.lease is None
            await eventually(lambda: after.lease is not None, "the second waiter's turn")
            await after.end()
            assert idle(supervisor)

    asyncio.run(main())
