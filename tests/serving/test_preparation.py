import asyncio
from pathlib import Path

import pytest

from freehold.engines.base import EngineSpec
from freehold.errors import ConfigError, DigestMismatch, EngineUnavailable, SourceUnavailable
from freehold.serving.preparation import Preparation
from freehold.serving.supervisor import Progress
from freehold.types.deployment import DeploymentSettings
from tests.serving.trial import PATIENCE_S, QUICK, ask, eventually, supervised, trial


def test_those_who_wait_at_once_share_the_work() -> None:
    """Three replicas that need the same model have it fetched once, and each hears of the progress."""

    async def main() -> None:
        calls, heard = [], list[str]()

        async def fetch(settings: DeploymentSettings, progress: Progress) -> EngineSpec:
            calls.append(settings.name)
            await asyncio.to_thread(progress, "downloading 35 %")
            await asyncio.sleep(0.05)
            return EngineSpec(settings)

        preparation = Preparation(fetch, trial())
        specs = await asyncio.gather(*(preparation.spec(heard.append) for _ in range(3)))
        assert calls == ["chat"]
        assert heard == ["downloading 35 %"] * 3
        assert specs[0] is specs[2]
        await preparation.spec(heard.append)
        assert calls == ["chat", "chat"]

    asyncio.run(main())


def test_work_that_nobody_waits_for_is_given_up() -> None:
    """The work goes on while one still waits, is cancelled with the last one, and can begin anew."""

    async def main() -> None:
        ends = list[str]()

        async def fetch(settings: DeploymentSettings, progress: Progress) -> EngineSpec:
            del progress
            try:
                await asyncio.sleep(60)
            finally:
                ends.append("given up")
            return EngineSpec(settings)

        preparation = Preparation(fetch, trial())
        for _ in range(2):
            ends.clear()
            waiting = [asyncio.create_task(preparation.spec(lambda _: None)) for _ in range(2)]
            await asyncio.sleep(0.01)
            waiting[0].cancel()
            await asyncio.wait({waiting[0]})
            assert ends == []
            waiting[1].cancel()
            await asyncio.wait({waiting[1]})
            assert ends == ["given up"]

    asyncio.run(main())


def test_a_fault_that_time_does_not_mend_waits_longest(tmp_path: Path) -> None:
    """A wrong digest, a wrong setting or an unknown engine backs off for the longest time at once, and is shown."""

    async def main() -> None:
        settings = QUICK.model_copy(update={"backoff_max_s": 60.0})

        async def fetch(deployment: DeploymentSettings, progress: Progress) -> EngineSpec:
            del progress
            if deployment.name == "digest":
                raise DigestMismatch("the bytes are not those that were pinned")
            if deployment.name == "secret":
                raise ConfigError("the environment variable X is not set")
            return EngineSpec(deployment)

        wanted = {
            "digest": (trial("digest"), "pinned"),
            "secret": (trial("secret"), "not set"),
            "option": (trial("option", options={"broken": True}), "options.broken"),
            "engine": (trial("engine").model_copy(update={"engine": "nonesuch"}), "nonesuch"),
        }
        deployments = [deployment for deployment, _ in wanted.values()]
        async with supervised(tmp_path, *deployments, settings=settings, prepare=fetch) as supervisor:
            for name, (_, text) in wanted.items():
                await eventually(lambda name=name: supervisor.status(name).state == "backing_off", name)  # type: ignore[misc]
                assert text in str(supervisor.status(name).replicas[0].error)
                with pytest.raises(EngineUnavailable, match=text) as caught:
                    await ask(supervisor, name)
                assert (caught.value.retry_after_s or 0) > 15

    asyncio.run(main())


def test_a_source_that_is_down_is_tried_again(tmp_path: Path) -> None:
    """A model whose source cannot be reached is fetched again and again, with its progress shown, until it is there."""

    async def main() -> None:
        attempts = list[str]()
        go_on = asyncio.Event()

        async def fetch(deployment: DeploymentSettings, progress: Progress) -> EngineSpec:
            attempts.append(deployment.name)
            if len(attempts) < 3:
                raise SourceUnavailable("the source cannot be reached")
            progress("downloading 35 %")
            await go_on.wait()
            return EngineSpec(deployment)

        settings = QUICK.model_copy(update={"backoff_max_s": 0.2})
        async with supervised(tmp_path, trial(), settings=settings, prepare=fetch) as supervisor:
            await eventually(lambda: supervisor.status("chat").state == "fetching", "fetching")
            assert supervisor.status("chat").replicas[0].progress == "downloading 35 %"
            with pytest.raises(EngineUnavailable, match="downloading 35 %"):
                await ask(supervisor)
            go_on.set()
            await supervisor.wait_ready("chat", PATIENCE_S)
            (replica,) = supervisor.status("chat").replicas
            assert (replica.restarts, replica.error, replica.progress) == (0, None, None)

    asyncio.run(main())


def test_a_defect_in_the_preparation_is_no_end(tmp_path: Path) -> None:
    """An unforeseen error is shown without its text, and the deployment is tried again."""

    async def main() -> None:
        attempts = list[str]()

        async def fetch(deployment: DeploymentSettings, progress: Progress) -> EngineSpec:
            del progress
            attempts.append(deployment.name)
            if len(attempts) == 1:
                raise ZeroDivisionError("secret detail")
            return EngineSpec(deployment)

        async with supervised(tmp_path, prepare=fetch) as supervisor:
            errors = list[str]()
            supervisor.on_state(lambda _, status: errors.append(status.error or ""))
            await supervisor.set(trial())
            await supervisor.wait_ready("chat", PATIENCE_S)
            assert any("ZeroDivisionError" in error for error in errors)
            assert not any("secret detail" in error for error in errors)

    asyncio.run(main())
