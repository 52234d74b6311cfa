import asyncio
import os
import signal
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from freehold.engines.base import EngineSpec
from freehold.errors import DeploymentNotFound, Draining, EngineFailed, EngineUnavailable
from freehold.serving.supervisor import Progress, ReplicaStatus, Supervisor
from freehold.types.completions import CompletionRequest
from freehold.types.deployment import DeploymentSettings, ReplicaState
from freehold.types.engine import Feature
from freehold.types.generation import Usage
from tests.serving.trial import BOTH_LOOPS, PATIENCE_S, QUICK, alive, answer, ask, eventually, pid_of, supervised, trial

Run = Callable[[Any], Any]


@BOTH_LOOPS
def test_a_deployment_becomes_ready_and_its_replica_answers(tmp_path: Path, run: Run) -> None:
    """A deployment that is set becomes ready by itself, and a lease reaches its engine's process."""

    async def main() -> None:
        async with supervised(tmp_path, trial(options={"load_s": 0.3})) as supervisor:
            assert supervisor.status("chat").state in {"starting", "ready"}
            await supervisor.wait_ready("chat", PATIENCE_S)
            async with supervisor.acquire("chat") as lease:
                assert await answer(lease) == str(pid_of(supervisor))
                assert lease.traits.features == {Feature.CHAT}
                (replica,) = supervisor.status("chat").replicas
                assert (replica.in_flight, replica.restarts, replica.error) == (1, 0, None)
                assert replica.id == lease.replica_id
            assert supervisor.status("chat").replicas[0].in_flight == 0
            assert await supervisor.traits("chat") == lease.traits

    run(main())


@BOTH_LOOPS
def test_a_killed_engine_is_started_again(tmp_path: Path, run: Run) -> None:
    """After kill -9 of an engine its request fails, the replica counts one restart, and the next request is served."""

    async def main() -> None:
        async with supervised(tmp_path, trial()) as supervisor:
            await supervisor.wait_ready("chat", PATIENCE_S)
            before = pid_of(supervisor)
            async with supervisor.acquire("chat") as lease:
                working = asyncio.create_task(answer(lease, after_s=60))
                await asyncio.sleep(0.1)
                os.killpg(before, signal.SIGKILL)
                with pytest.raises(EngineFailed):
                    await working
                lease.report(EngineFailed("it broke off"))
            assert await ask(supervisor) != str(before)
            (replica,) = supervisor.status("chat").replicas
            assert (replica.restarts, replica.state) == (1, ReplicaState.READY)
            assert not alive(before)

    run(main())


@pytest.mark.slow
def test_a_hung_engine_is_killed_and_started_again(tmp_path: Path) -> None:
    """An engine that answers no probe for the time allowed is killed, although it is stopped, and replaced."""

    async def main() -> None:
        states: list[ReplicaState] = []
        async with supervised(tmp_path, trial()) as supervisor:
            supervisor.on_state(lambda _, status: states.append(status.state))
            await supervisor.wait_ready("chat", PATIENCE_S)
            before = pid_of(supervisor)
            os.killpg(before, signal.SIGSTOP)
            await eventually(lambda: supervisor.status("chat").replicas[0].restarts == 1, "a restart")
            await supervisor.wait_ready("chat", PATIENCE_S)
            assert await ask(supervisor) != str(before)
            assert not alive(before)
            assert ReplicaState.UNHEALTHY in states

    asyncio.run(main())


def test_a_crash_at_the_start_is_shown_with_the_last_lines(tmp_path: Path) -> None:
    """An engine that ends at its start backs off, and its status shows the exit status and what it wrote last."""

    async def main() -> None:
        async with supervised(tmp_path, trial(options={"complaints": 30, "exit_with": 3})) as supervisor:
            await eventually(lambda: supervisor.status("chat").replicas[0].restarts >= 2, "two restarts")
            await eventually(lambda: supervisor.status("chat").state == "backing_off", "backing off")
            error = supervisor.status("chat").replicas[0].error or ""
            assert "status 3" in error
            assert "complaint 29" in error
            assert "complaint 5\n" not in error
            with pytest.raises(EngineUnavailable, match="status 3") as caught:
                await ask(supervisor)
            assert "complaint" not in caught.value.message
            assert (caught.value.retry_after_s or 0) >= 1

    asyncio.run(main())


def test_a_start_that_fails_once_is_waited_for(tmp_path: Path) -> None:
    """A request waits for a replica that starts again, and gets the one that at last works."""

    async def main() -> None:
        mended = tmp_path / "mended"
        options = {"exit_with": 1, "exit_unless": str(mended)}
        async with supervised(tmp_path, trial(options=options)) as supervisor:
            await eventually(lambda: supervisor.status("chat").replicas[0].error is not None, "a failure")
            mended.touch()
            await supervisor.wait_ready("chat", PATIENCE_S)
            assert await ask(supervisor) == str(pid_of(supervisor))
            assert supervisor.status("chat").replicas[0].error is None

    asyncio.run(main())


def test_an_engine_that_is_never_ready_is_given_up(tmp_path: Path) -> None:
    """A start that takes longer than allowed is ended, and the status says so."""

    async def main() -> None:
        settings = QUICK.model_copy(update={"start_timeout_s": 0.5})
        async with supervised(tmp_path, trial(options={"load_s": 60}), settings=settings) as supervisor:
            await eventually(lambda: supervisor.status("chat").replicas[0].progress == "loading 50 %", "its progress")
            with pytest.raises(EngineUnavailable, match="starting"):
                async with supervisor.acquire("chat", patience_s=0):
                    pass
            await eventually(lambda: "not ready" in str(supervisor.status("chat").replicas[0].error), "giving up")

    asyncio.run(main())


def test_an_endpoint_that_cannot_be_reached_shows_why(tmp_path: Path) -> None:
    """An engine that runs elsewhere and does not answer backs off, and its status says what was wrong."""

    async def main() -> None:
        settings = QUICK.model_copy(update={"probe_timeout_s": 0.3})
        absent = trial(options={"far": str(tmp_path / "absent.sock")})
        async with supervised(tmp_path, absent, settings=settings) as supervisor:
            await eventually(lambda: supervisor.status("chat").state == "backing_off", "backing off")
            assert "does not listen" in str(supervisor.status("chat").replicas[0].error)
            with pytest.raises(EngineUnavailable, match="does not listen"):
                async with supervisor.acquire("chat", patience_s=0):
                    pass

    asyncio.run(main())


@pytest.mark.slow
def test_stop_kills_engines_that_ignore_the_signal(tmp_path: Path) -> None:
    """Stopping ends engines that ignore SIGTERM, all at once, and removes their sockets."""

    async def main() -> None:
        wanted = [trial(f"chat-{number}", options={"ignore_sigterm": True}) for number in range(3)]
        async with supervised(tmp_path, *wanted) as supervisor:
            for deployment in wanted:
                await supervisor.wait_ready(deployment.name, PATIENCE_S)
            pids = [pid_of(supervisor, deployment.name) for deployment in wanted]
            assert len(list((tmp_path / "run").iterdir())) == 3
            began = time.monotonic()
            await supervisor.stop()
            assert time.monotonic() - began < 3 * QUICK.stop_timeout_s
            assert not [pid for pid in pids if alive(pid)]
            assert not list((tmp_path / "run").iterdir())
            assert supervisor.status("chat-0").state == "stopped"
            with pytest.raises(EngineUnavailable, match="shutting down"):
                await ask(supervisor, "chat-0")
            with pytest.raises(Draining):
                await supervisor.set(trial("late"))

    asyncio.run(main())


def test_what_an_engine_started_ends_with_it(tmp_path: Path) -> None:
    """Processes that an engine has started are killed when the engine ends."""

    async def main() -> None:
        note = tmp_path / "child"
        async with supervised(tmp_path, trial(options={"child": str(note)})) as supervisor:
            await supervisor.wait_ready("chat", PATIENCE_S)
            child = int(note.read_text())
            assert alive(child)
            os.kill(pid_of(supervisor), signal.SIGKILL)
            await eventually(lambda: not alive(child), "the child's end")

    asyncio.run(main())


def test_the_supervisor_stops_while_engines_start_and_fail(tmp_path: Path) -> None:
    """Stopping works at any moment: before, during and after the start, and while backing off."""

    async def main() -> None:
        for delay_s in (0.0, 0.01, 0.03, 0.1, 0.3):
            starts = tmp_path / f"starts-{delay_s}"
            wanted = [
                trial("slow", options={"load_s": 60, "starts_file": str(starts)}),
                trial("failing", options={"exit_with": 1, "starts_file": str(starts)}),
                trial("good", replicas=2, options={"starts_file": str(starts)}),
            ]
            async with supervised(tmp_path, *wanted) as supervisor:
                await asyncio.sleep(delay_s)
                await supervisor.stop()
            pids = starts.read_text().split() if starts.exists() else []
            assert not [pid for pid in pids if alive(int(pid))]
        others = asyncio.all_tasks() - {asyncio.current_task()}
        assert not others

    asyncio.run(main())


def test_an_unknown_deployment_is_not_found(tmp_path: Path) -> None:
    """Every question about a deployment that is not there says so."""

    async def main() -> None:
        async with supervised(tmp_path) as supervisor:
            assert supervisor.names() == []
            for question in (supervisor.traits("x"), ask(supervisor, "x"), supervisor.remove("x")):
                with pytest.raises(DeploymentNotFound):
                    await question
            with pytest.raises(DeploymentNotFound):
                supervisor.status("x")

    asyncio.run(main())


def test_a_listener_hears_every_state(tmp_path: Path) -> None:
    """A listener is told each state that a replica goes through, in order."""

    async def main() -> None:
        heard: list[tuple[str, ReplicaStatus]] = []
        async with supervised(tmp_path) as supervisor:
            supervisor.on_state(lambda name, status: heard.append((name, status)))
            await supervisor.set(trial())
            await supervisor.wait_ready("chat", PATIENCE_S)
            await supervisor.remove("chat")
            await eventually(lambda: heard[-1][1].state is ReplicaState.STOPPED, "the end")
            assert [status.state.value for _, status in heard] == ["ready", "draining", "stopped"]
            assert {name for name, _ in heard} == {"chat"}

    asyncio.run(main())


def test_a_replica_that_failed_a_request_is_asked_before_it_gets_another(tmp_path: Path) -> None:
    """After a reported failure the others are taken, until the replica answers a probe again."""

    async def main() -> None:
        settings = QUICK.model_copy(update={"probe_interval_s": 60.0, "probe_timeout_s": 60.0})
        async with supervised(tmp_path, trial(replicas=2), settings=settings) as supervisor:
            await eventually(lambda: _all_ready(supervisor), "two replicas")
            async with supervisor.acquire("chat") as lease:
                pid = int(await answer(lease))
                os.killpg(pid, signal.SIGSTOP)
                lease.report(EngineUnavailable("no answer"))
            for _ in range(4):
                async with supervisor.acquire("chat") as other:
                    assert other.replica_id != lease.replica_id
            os.killpg(pid, signal.SIGCONT)
            others = frozenset(r.id for r in supervisor.status("chat").replicas) - {lease.replica_id}
            async with supervisor.acquire("chat", avoid=others, patience_s=PATIENCE_S) as again:
                assert await answer(again) == str(pid)

    asyncio.run(main())


def test_a_replica_under_suspicion_is_better_than_none(tmp_path: Path) -> None:
    """Where only a replica under suspicion is left, it gets the request once the patience is over."""

    async def main() -> None:
        settings = QUICK.model_copy(update={"probe_interval_s": 60.0, "probe_timeout_s": 60.0})
        async with supervised(tmp_path, trial(), settings=settings) as supervisor:
            await supervisor.wait_ready("chat", PATIENCE_S)
            async with supervisor.acquire("chat") as lease:
                os.killpg(pid_of(supervisor), signal.SIGSTOP)
                lease.report(EngineUnavailable("no answer"))
            async with supervisor.acquire("chat", patience_s=0.2) as again:
                assert again.replica_id == lease.replica_id

    asyncio.run(main())


def test_a_request_waits_for_an_engine_that_is_about_to_be_ready(tmp_path: Path) -> None:
    """While a deployment starts, a request waits for as long as it has patience, and the traits likewise."""

    async def main() -> None:
        async with supervised(tmp_path, trial(options={"load_s": 0.5})) as supervisor:
            with pytest.raises(EngineUnavailable, match="is starting"):
                async with supervisor.acquire("chat", patience_s=0.05):
                    pass
            traits, pid = await asyncio.gather(supervisor.traits("chat"), ask(supervisor))
            assert traits.features == {Feature.CHAT}
            assert pid == str(pid_of(supervisor))

    asyncio.run(main())


@pytest.mark.slow
def test_the_last_resort_is_an_endpoint_that_fails_its_probes(tmp_path: Path) -> None:
    """An engine that runs elsewhere stays in use when it fails its probes, and is healthy again when it answers."""

    async def main() -> None:
        dead = tmp_path / "dead"
        async with supervised(tmp_path, trial("there", options={"dead_while": str(dead)})) as supervisor:
            await supervisor.wait_ready("there", PATIENCE_S)
            socket = next((tmp_path / "run").iterdir())
            await supervisor.set(trial("far", options={"far": str(socket)}))
            await supervisor.wait_ready("far", PATIENCE_S)
            assert supervisor.status("far").replicas[0].pid is None
            dead.touch()
            await eventually(lambda: supervisor.status("far").state == "unhealthy", "failed probes")
            async with supervisor.acquire("far") as lease:
                assert lease.replica_id == "far-1"
            dead.unlink()
            await eventually(lambda: supervisor.status("far").state == "ready", "probes that succeed")

    asyncio.run(main())


def test_engines_tell_what_they_have_done(tmp_path: Path) -> None:
    """The counters of every ready replica are told by deployment and replica, without those that have none."""

    async def main() -> None:
        echo = DeploymentSettings(name="echo", model="echo", engine="echo", replicas=2)
        slow = trial("slow", options={"load_s": 60})
        async with supervised(tmp_path, trial(), echo, slow) as supervisor:
            await supervisor.wait_ready("chat", PATIENCE_S)
            await eventually(lambda: all(r.state == "ready" for r in supervisor.status("echo").replicas), "the echoes")
            async with supervisor.acquire("echo") as lease:
                events = lease.connection.complete(CompletionRequest(model="echo", max_tokens=3), "one two three four")
                (usage,) = [event async for event in events if isinstance(event, Usage)]
            found = {(name, replica): counters for name, replica, counters in await supervisor.counters()}
            assert set(found) == {("echo", replica.id) for replica in supervisor.status("echo").replicas}
            busy = found.pop(("echo", lease.replica_id))
            assert (busy.requests, busy.prompt_tokens, busy.completion_tokens) == (
                1,
                usage.prompt_tokens,
                usage.completion_tokens,
            )
            assert {counters.requests for counters in found.values()} == {0}
            gone, left = supervisor.status("echo").replicas
            assert gone.pid is not None
            os.killpg(gone.pid, signal.SIGKILL)
            assert {replica for _, replica, _ in await supervisor.counters()} == {left.id}

    asyncio.run(main())


def test_a_lease_says_what_it_lends(tmp_path: Path) -> None:
    """A lease names the replica, the engine and the digest of the weights."""

    async def prepare(settings: DeploymentSettings, progress: Progress) -> EngineSpec:
        del progress
        return EngineSpec(settings, weights_sha256="ab" * 32)

    async def main() -> None:
        async with (
            supervised(tmp_path, trial(parallel=4), prepare=prepare) as supervisor,
            supervisor.acquire("chat") as lease,
        ):
            assert (lease.replica_id, lease.engine, lease.weights_sha256) == ("chat-1", "trial", "ab" * 32)
            assert lease.traits.parallel == 4

    asyncio.run(main())


def _all_ready(supervisor: Supervisor) -> bool:
    return all(replica.state is ReplicaState.READY for replica in supervisor.status("chat").replicas)
