"""`engine = "auto"`: a quick engine that serves what it can, and a full one for the rest, in real processes."""

import asyncio
import os
import signal
from contextlib import suppress
from pathlib import Path

import pytest

from freehold.engines.base import EngineSpec
from freehold.errors import ConfigError, EngineUnavailable, SourceUnavailable, UnsupportedParameter
from freehold.serving.supervisor import Lease, Progress, Supervisor
from freehold.types.deployment import DeploymentSettings
from freehold.types.engine import Feature, Tier
from tests.serving.trial import PATIENCE_S, QUICK, answer, auto, eventually, supervised, trial

PLAIN = frozenset({Feature.CHAT})
MORE = frozenset({Feature.CHAT, Feature.LOGIT_BIAS})


async def served(supervisor: Supervisor, needs: frozenset[Feature] = PLAIN) -> Lease:
    """The lease of one request that was answered."""
    async with supervisor.acquire("chat", needs) as lease:
        await answer(lease)
        return lease


def states(supervisor: Supervisor) -> dict[str, str]:
    """How each engine fares."""
    return {lane.engine: lane.state for lane in supervisor.status("chat").lanes}


def engines(supervisor: Supervisor) -> list[str]:
    """The engine of each replica."""
    return [replica.engine for replica in supervisor.status("chat").replicas]


def test_the_features_choose_the_engine(tmp_path: Path) -> None:
    """The quick engine serves what it can; the full one starts with the first request that needs it, and says why."""

    async def main() -> None:
        async with supervised(tmp_path, auto()) as supervisor:
            quick = await served(supervisor)
            assert (quick.engine, quick.choice) == ("quick", "fastest")
            assert states(supervisor) == {"quick": "ready", "trial": "unloaded"}
            assert (await supervisor.traits("chat")).features == {Feature.CHAT, Feature.SEED, Feature.LOGIT_BIAS}
            full = await served(supervisor, MORE)
            assert (full.engine, full.choice) == ("trial", "needs logit_bias")
            assert engines(supervisor) == ["quick", "trial"]
            assert (await served(supervisor)).engine == "quick"

    asyncio.run(main())


def test_the_full_engine_ends_when_it_is_not_used(tmp_path: Path) -> None:
    """It is stopped after `full_engine_unload_s`, the quick one stays; the next need starts it again."""

    async def main() -> None:
        settings = QUICK.model_copy(update={"full_engine_unload_s": 0.2})
        async with supervised(tmp_path, auto(), settings=settings) as supervisor:
            await served(supervisor, MORE)
            await eventually(lambda: len(supervisor.status("chat").replicas) == 1, "the quick one alone")
            assert states(supervisor) == {"quick": "ready", "trial": "unloaded"}
            assert (await supervisor.traits("chat")).features >= MORE
            assert (await served(supervisor, MORE)).engine == "trial"

    asyncio.run(main())


@pytest.mark.parametrize("fault", [{"unreadable": "gpt-neox"}, {"exit_with": 3}], ids=["cannot read", "crashes"])
def test_an_engine_that_fails_for_good_is_replaced(tmp_path: Path, fault: dict[str, object]) -> None:
    """The full engine then serves everything, and status and log say why."""

    async def main() -> None:
        async with supervised(tmp_path, auto(quick=fault, replicas=2)) as supervisor:
            lease = await served(supervisor)
            assert (lease.engine, lease.choice) == ("trial", "quick is left out")
            (quick, full) = supervisor.status("chat").lanes
            assert (quick.engine, quick.state) == ("quick", "left_out")
            assert quick.why is not None
            assert ("gpt-neox" in quick.why) == ("unreadable" in fault)
            assert (full.engine, full.why) == ("trial", None)
            await eventually(lambda: len(supervisor.status("chat").replicas) == 2, "two full replicas")
            assert any("given up" in entry.text for entry in supervisor.log("chat", 100))
            await supervisor.set(auto())
            await eventually(lambda: engines(supervisor) == ["quick"], "the quick one")
            assert (await served(supervisor)).engine == "quick"

    asyncio.run(main())


def test_an_engine_that_crashes_again_and_again_is_given_up(tmp_path: Path) -> None:
    """Also one that becomes ready each time; the full one, which runs already, goes on without a restart."""

    async def main() -> None:
        async with supervised(tmp_path, auto()) as supervisor:
            await served(supervisor)
            before = (await served(supervisor, MORE)).replica_id

            def crash() -> bool:
                for replica in supervisor.status("chat").replicas:
                    if replica.engine == "quick" and replica.pid is not None:
                        with suppress(ProcessLookupError):  # the one before has just ended
                            os.kill(replica.pid, signal.SIGKILL)
                return states(supervisor)["quick"] == "left_out"

            await eventually(crash, "the end of the quick engine")
            lease = await served(supervisor)
            assert (lease.engine, lease.replica_id) == ("trial", before)

    asyncio.run(main())


def test_while_the_quick_engine_is_away_a_running_full_one_serves(tmp_path: Path) -> None:
    """A request does not wait for the quick engine to come back where another can take it."""

    async def main() -> None:
        settings = QUICK.model_copy(update={"backoff_initial_s": 20.0, "backoff_max_s": 30.0})
        async with supervised(tmp_path, auto(), settings=settings) as supervisor:
            quick = await served(supervisor)
            await served(supervisor, MORE)
            (pid,) = (r.pid for r in supervisor.status("chat").replicas if r.id == quick.replica_id)
            assert pid is not None
            os.kill(pid, signal.SIGKILL)
            await eventually(lambda: states(supervisor)["quick"] == "backing_off", "its end")
            lease = await served(supervisor)
            assert (lease.engine, lease.choice) == ("trial", "quick is not ready")

    asyncio.run(main())


def test_a_request_that_avoids_the_quick_replica_gets_the_full_one(tmp_path: Path) -> None:
    """Who was failed by the only replica of the quick engine is served by the other engine, which starts for it."""

    async def main() -> None:
        async with supervised(tmp_path, auto()) as supervisor:
            quick = await served(supervisor)
            async with supervisor.acquire("chat", PLAIN, avoid=frozenset({quick.replica_id})) as lease:
                assert lease.engine == "trial"

    asyncio.run(main())


def test_what_no_engine_turns_out_to_do_is_refused(tmp_path: Path) -> None:
    """A feature that an engine might have had, and has not, is refused by its name, the first time and later."""

    async def main() -> None:
        async with supervised(tmp_path, auto(full={"hoped": ["tools"]})) as supervisor:
            await served(supervisor)
            assert Feature.TOOLS in (await supervisor.traits("chat")).features
            for _ in range(2):
                with pytest.raises(UnsupportedParameter, match="tools"):
                    await served(supervisor, frozenset({Feature.CHAT, Feature.TOOLS}))
            assert Feature.TOOLS not in (await supervisor.traits("chat")).features

    asyncio.run(main())


def test_a_feature_of_how_is_only_what_every_engine_has(tmp_path: Path) -> None:
    """Where one engine takes `n` and the other does not, the gateway must ask n times."""

    async def main() -> None:
        quick = {"features": ["chat", "n"]}
        async with supervised(tmp_path, auto(quick=quick)) as supervisor:
            await served(supervisor)
            await served(supervisor, MORE)
            assert Feature.N not in (await supervisor.traits("chat")).features

    asyncio.run(main())


def test_what_is_left_out_from_the_start_says_why(tmp_path: Path) -> None:
    """An engine that is not installed, or does not know an option that is for all, is no lane."""

    async def main() -> None:
        first = {"chat": ("absent", "quick", "trial")}
        async with supervised(tmp_path, auto(quick={"broken": True}), fastest_first=first) as supervisor:
            assert (await served(supervisor)).engine == "trial"
            absent, quick, full = supervisor.status("chat").lanes
            assert (absent.why, quick.why, full.why) == (
                "its package is not installed",
                "options.broken: is set",
                None,
            )

    asyncio.run(main())


def test_a_deployment_goes_over_to_auto_and_back_while_it_serves(tmp_path: Path) -> None:
    """Changing the engine is a change like any other: what serves goes on until the new replicas are ready."""

    async def main() -> None:
        async with supervised(tmp_path, trial(options={"features": ["chat"]})) as supervisor:
            named = await served(supervisor)
            assert (named.engine, named.choice) == ("trial", None)
            assert supervisor.status("chat").lanes == ()
            await supervisor.set(auto(quick={"load_s": 0.5}))
            assert (await served(supervisor)).replica_id == named.replica_id
            await eventually(lambda: states(supervisor)["quick"] == "ready", "the quick engine")
            await eventually(lambda: len(supervisor.status("chat").replicas) == 1, "the old one's end")
            await served(supervisor, MORE)
            await supervisor.set(trial(options={"features": ["chat"]}))
            await eventually(lambda: engines(supervisor) == ["trial"], "the named engine alone")
            assert (await served(supervisor)).choice is None

    asyncio.run(main())


def test_the_lines_of_the_engines_are_each_in_order(tmp_path: Path) -> None:
    """Who waits for the quick engine is not held up by who waits for the full one; in each line nobody is overtaken."""

    async def main() -> None:
        async with supervised(tmp_path, auto(parallel=1)) as supervisor:
            await served(supervisor)
            await served(supervisor, MORE)
            order: dict[str, list[int]] = {"quick": [], "trial": []}

            async def client(number: int) -> None:
                needs, tier = (MORE, Tier.DEFAULT) if number % 3 == 0 else (PLAIN, Tier.DEFAULT)
                async with supervisor.acquire("chat", needs, tier=tier) as lease:
                    await answer(lease, after_s=0.005)
                    order[lease.engine].append(number)

            async with supervisor.acquire("chat", MORE) as held:
                clients = [asyncio.create_task(client(number)) for number in range(30)]
                await eventually(lambda: len(order["quick"]) == 20, "the quick engine's line")
                assert order["trial"] == []
                assert held.engine == "trial"
            await asyncio.gather(*clients)
            assert order["quick"] == [number for number in range(30) if number % 3]
            assert order["trial"] == [number for number in range(30) if number % 3 == 0]

    asyncio.run(main())


def test_who_waits_for_an_engine_that_is_given_up_is_served_by_the_next(tmp_path: Path) -> None:
    """In the order of their coming, and without an error."""

    async def main() -> None:
        quick = {"exit_with": 3, "load_s": 0.2}
        async with supervised(tmp_path, auto(quick=quick, parallel=1)) as supervisor:
            order: list[int] = []

            async def client(number: int) -> None:
                async with supervisor.acquire("chat", patience_s=PATIENCE_S) as lease:
                    assert lease.engine == "trial"
                    order.append(number)

            await asyncio.gather(*(client(number) for number in range(10)))
            assert order == list(range(10))

    asyncio.run(main())


def test_a_scaled_down_deployment_runs_no_engine(tmp_path: Path) -> None:
    """With 0 replicas neither engine starts, and requests are told so."""

    async def main() -> None:
        async with supervised(tmp_path, auto(replicas=0)) as supervisor:
            for needs in (PLAIN, MORE):
                with pytest.raises(EngineUnavailable, match="scaled to 0"):
                    await served(supervisor, needs)
            assert supervisor.status("chat").replicas == ()
            assert supervisor.status("chat").state == "stopped"

    asyncio.run(main())


def test_an_engine_that_cannot_do_the_defaults_is_passed_over(tmp_path: Path) -> None:
    """What the deployment adds to a request needs the same features as what the caller says."""

    async def main() -> None:
        full = {"features": ["chat", "seed", "logit_bias", "penalties"]}
        async with supervised(tmp_path, auto(full=full, defaults={"frequency_penalty": 0.2})) as supervisor:
            lease = await served(supervisor)
            assert (lease.engine, lease.choice) == ("trial", "needs penalties")
        async with supervised(tmp_path, auto(defaults={"frequency_penalty": 0.2})) as supervisor:
            await served(supervisor, MORE)
            await eventually(
                lambda: {lane.state for lane in supervisor.status("chat").lanes} == {"ready"}, "both engines"
            )
            assert (await served(supervisor)).engine == "quick"

    asyncio.run(main())


def test_an_adapter_that_the_quick_engine_does_not_load_is_served_by_the_full_one(tmp_path: Path) -> None:
    """What the preparation refuses for one engine alone is no fault of the other's."""

    async def prepare(settings: DeploymentSettings, progress: Progress) -> EngineSpec:
        del progress
        if settings.engine == "quick":
            raise ConfigError("model: 'm' is an adapter, which the engine 'quick' does not load", param="model")
        return EngineSpec(settings)

    async def main() -> None:
        async with supervised(tmp_path, auto(), prepare=prepare) as supervisor:
            assert (await served(supervisor)).engine == "trial"
            assert "adapter" in (supervisor.status("chat").lanes[0].why or "")

    asyncio.run(main())


def test_a_model_that_cannot_be_fetched_gives_up_no_engine(tmp_path: Path) -> None:
    """The next engine would want the same model; the quick one serves as soon as it is there."""
    there = False

    async def prepare(settings: DeploymentSettings, progress: Progress) -> EngineSpec:
        del progress
        if not there:
            raise SourceUnavailable("the index does not answer")
        return EngineSpec(settings)

    async def main() -> None:
        nonlocal there
        async with supervised(tmp_path, auto(), prepare=prepare) as supervisor:
            await eventually(lambda: supervisor.status("chat").replicas[0].error is not None, "a failure")
            await asyncio.sleep(0.5)
            assert states(supervisor) == {"quick": "backing_off", "trial": "unloaded"}
            there = True
            await eventually(lambda: states(supervisor)["quick"] == "ready", "the quick engine")

    asyncio.run(main())


def test_a_slow_start_of_the_quick_engine_holds_nobody_up(tmp_path: Path) -> None:
    """Who has waited for it for a while is served by the full one, and it takes over when it is ready."""

    async def main() -> None:
        settings = QUICK.model_copy(update={"full_engine_after_s": 0.2})
        async with supervised(tmp_path, auto(quick={"load_s": 6.0}), settings=settings) as supervisor:
            assert (await supervisor.traits("chat")).features >= MORE
            lease = await served(supervisor)
            assert (lease.engine, lease.choice) == ("trial", "quick is not ready")
            assert states(supervisor)["quick"] == "starting"
            await eventually(lambda: states(supervisor)["quick"] == "ready", "the quick engine")
            assert (await served(supervisor)).engine == "quick"

    asyncio.run(main())


def test_who_has_a_fallback_starts_no_second_engine(tmp_path: Path) -> None:
    """Without patience a request goes elsewhere instead."""

    async def main() -> None:
        settings = QUICK.model_copy(update={"full_engine_after_s": 0.1})
        async with supervised(tmp_path, auto(quick={"load_s": 1.0}), settings=settings) as supervisor:
            with pytest.raises(EngineUnavailable):
                async with supervisor.acquire("chat", PLAIN, patience_s=0):
                    pass
            assert states(supervisor) == {"quick": "starting", "trial": "unloaded"}

    asyncio.run(main())
