import asyncio
from pathlib import Path
from typing import Any

import pytest

from freehold.errors import EngineFailed, EngineUnavailable
from freehold.serving.supervisor import Lease, Supervisor
from freehold.types.completions import CompletionRequest
from freehold.types.deployment import DeploymentSettings
from freehold.types.generation import Delta
from tests.serving.trial import PATIENCE_S, eventually, pid_of, supervised

pytestmark = pytest.mark.slow


def _echo(**options: Any) -> DeploymentSettings:
    return DeploymentSettings(name="chat", model="echo", engine="echo", options=options)


async def _say(lease: Lease, prompt: str) -> list[str]:
    events = lease.connection.complete(CompletionRequest(model="echo", max_tokens=50), prompt)
    return [event.text async for event in events if isinstance(event, Delta)]


async def _served(supervisor: Supervisor, prompt: str) -> str:
    async with supervisor.acquire("chat") as lease:
        return "".join(await _say(lease, prompt))


def test_a_crash_in_mid_stream_is_survived(tmp_path: Path) -> None:
    """A prompt that kills its engine fails alone: every later request is served by the engine that starts again."""

    async def main() -> None:
        async with supervised(tmp_path, _echo(crash_on="poison")) as supervisor:
            await supervisor.wait_ready("chat", PATIENCE_S)
            for crashes in (1, 2):
                async with supervisor.acquire("chat") as lease:
                    with pytest.raises(EngineFailed) as caught:
                        await _say(lease, "a dose of poison for the engine")
                    lease.report(caught.value)
                assert "harmless" in await _served(supervisor, "a harmless request")
                assert supervisor.status("chat").replicas[0].restarts == crashes

    asyncio.run(main())


def test_an_engine_that_stops_answering_is_replaced(tmp_path: Path) -> None:
    """A prompt that hangs its engine fails when the probes have found out, and the next request is served."""

    async def main() -> None:
        async with supervised(tmp_path, _echo(hang_on="tarpit")) as supervisor:
            await supervisor.wait_ready("chat", PATIENCE_S)
            before = pid_of(supervisor)
            async with supervisor.acquire("chat") as lease:
                with pytest.raises((EngineFailed, EngineUnavailable)):
                    await asyncio.wait_for(_say(lease, "into the tarpit"), PATIENCE_S)
            await eventually(lambda: supervisor.status("chat").state == "ready", "an engine that answers")
            assert "harmless" in await _served(supervisor, "a harmless request")
            assert pid_of(supervisor) != before

    asyncio.run(main())


def test_slow_answers_are_no_hang(tmp_path: Path) -> None:
    """An engine whose answer takes longer than the probes' time-out is left alone as long as it answers those."""

    async def main() -> None:
        async with supervised(tmp_path, _echo(first_delay_s=5)) as supervisor:
            await supervisor.wait_ready("chat", PATIENCE_S)
            assert "patience" in await _served(supervisor, "patience")
            assert supervisor.status("chat").replicas[0].restarts == 0

    asyncio.run(main())
