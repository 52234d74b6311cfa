"""Which options are best on this machine: measured by a process of the engine's, remembered, and taken."""

import asyncio
import json
from pathlib import Path
from typing import Any

import pytest

from freehold.engines.base import EngineSpec
from freehold.errors import EngineFailed
from freehold.serving.measurements import Measurements
from freehold.serving.supervisor import Supervisor
from freehold.types.engine import Feature
from tests.serving.trial import PATIENCE_S, QUICK, answer, auto, eventually, supervised, trial
from tests.serving.trial_engine import TrialEngine

QUICKLY = QUICK.model_copy(update={"measure_after_idle_s": 0.2, "measure_below_load": 1000.0})


def script(best: dict[str, Any], *, takes_s: float = 0.0, status: int = 0, marks: Path | None = None) -> str:
    """A measurement that tries two candidates, and marks in a file that it began."""
    mark = "" if marks is None else f"open({str(marks)!r}, 'a').write('x')\n"
    candidates = [{"options": {"complaints": number}, "figures": {"tokens_per_s": 10.5 * number}} for number in (1, 2)]
    lines = [*(f"measured {json.dumps(each)}" for each in candidates), f"best {json.dumps(best)}"]
    told = "\n".join(f"print({line!r})" for line in lines)
    return f"import sys, time\n{mark}time.sleep({takes_s})\n{told}\nsys.stdout.flush()\nsys.exit({status})"


def features(supervisor: Supervisor) -> set[str]:
    """What the deployment can do, as its running replicas say."""
    traits = supervisor.status("chat").traits
    return set(traits.features) if traits else set()


async def measured(supervisor: Supervisor) -> None:
    """Wait until something was measured."""
    await eventually(lambda: bool(supervisor.measured("trial")), "a measurement")


def test_what_is_best_is_taken_and_remembered(tmp_path: Path) -> None:
    """Measured on demand: replicas are exchanged, the next start takes it, and the deployment's own options stay."""
    kept: list[list[dict[str, Any]]] = []

    async def save(found: list[dict[str, Any]]) -> None:
        kept.append(json.loads(json.dumps(found)))

    best = {"features": ["chat", "tools"], "load_s": 0.1}
    settings = trial(options={"measurement": script(best), "load_s": 0.0})

    async def main() -> None:
        async with supervised(tmp_path, settings, measurements=Measurements(save=save)) as supervisor:
            await supervisor.wait_ready("chat", PATIENCE_S)
            assert features(supervisor) == {"chat"}
            (found,) = await supervisor.measure("chat")
            assert found.options == best
            assert [candidate.figures["tokens_per_s"] for candidate in found.candidates] == [10.5, 21.0]
            await eventually(lambda: features(supervisor) == {"chat", "tools"}, "replicas with the options")
            async with supervisor.acquire("chat", frozenset({Feature.TOOLS})) as lease:
                await answer(lease)
            await eventually(lambda: len(supervisor.status("chat").replicas) == 1, "the end of the replica before")
            before = [replica.id for replica in supervisor.status("chat").replicas]
            await supervisor.measure("chat")
            await asyncio.sleep(0.1)
            assert [replica.id for replica in supervisor.status("chat").replicas] == before
        async with supervised(tmp_path, settings, measurements=Measurements(kept[-1])) as supervisor:
            await supervisor.wait_ready("chat", PATIENCE_S)
            assert features(supervisor) == {"chat", "tools"}

    asyncio.run(main())


def test_it_is_measured_when_there_is_nothing_to_do(tmp_path: Path) -> None:
    """Once for a model and its options; the deployment serves meanwhile."""
    marks = tmp_path / "marks"
    settings = trial(options={"measurement": script({"features": ["chat", "tools"]}, marks=marks)})

    async def main() -> None:
        async with supervised(tmp_path, settings, settings=QUICKLY) as supervisor:
            supervisor.measure_when_idle()
            await measured(supervisor)
            await eventually(lambda: features(supervisor) == {"chat", "tools"}, "replicas with the options")
            await asyncio.sleep(1.0)
            assert marks.read_text() == "x"

    asyncio.run(main())


def test_a_request_ends_a_measurement(tmp_path: Path) -> None:
    """It gives way to what callers want, and is tried again later."""
    marks = tmp_path / "marks"
    settings = trial(options={"measurement": script({}, takes_s=1.5, marks=marks)})

    async def main() -> None:
        async with supervised(tmp_path, settings, settings=QUICKLY) as supervisor:
            supervisor.measure_when_idle()
            await eventually(marks.exists, "its begin")
            async with supervisor.acquire("chat") as lease:
                await answer(lease, after_s=0.5)
            assert supervisor.measured("trial") == []
            await measured(supervisor)
            assert marks.read_text() == "xx"

    asyncio.run(main())


@pytest.mark.parametrize(
    ("measurement", "problem"),
    [
        (script({}, status=3), "status 3"),
        ("print('measured nonsense')", "cannot be read"),
        ("print('best {}'); print('best {}')", "cannot be read"),
    ],
)
def test_a_measurement_that_fails_says_so(tmp_path: Path, measurement: str, problem: str) -> None:
    """On demand it is an error; by itself it is remembered, and not tried again."""

    async def main() -> None:
        settings = trial(options={"measurement": measurement})
        async with supervised(tmp_path, settings, settings=QUICKLY) as supervisor:
            await supervisor.wait_ready("chat", PATIENCE_S)
            with pytest.raises(EngineFailed, match=problem):
                await supervisor.measure("chat")
            supervisor.measure_when_idle()
            await measured(supervisor)
            (found,) = supervisor.measured("trial")
            assert found.failure is not None
            assert problem in found.failure
            assert found.options == {}

    asyncio.run(main())


def test_each_engine_of_auto_is_measured(tmp_path: Path) -> None:
    """Also the one that does not run; what is measured of it is taken when it starts."""
    quick, full = script({}), script({"features": ["chat", "tools"], "complaints": 2})
    settings = auto(quick={"measurement": quick}, full={"measurement": full})
    wish = frozenset({Feature.CHAT, Feature.LOGIT_BIAS})

    async def main() -> None:
        async with supervised(tmp_path, settings) as supervisor:
            await supervisor.wait_ready("chat", PATIENCE_S)
            assert [found.place.engine for found in await supervisor.measure("chat")] == ["quick", "trial"]
            async with supervisor.acquire("chat", wish) as lease:
                assert lease.traits.features == {*wish, Feature.SEED}  # the deployment names them, so they stay
            assert any("complaint 1" in entry.text for entry in supervisor.log("chat", 100))

    asyncio.run(main())


def test_a_measurement_holds_for_its_place_alone() -> None:
    """Other weights, other options, another machine or another version is another place."""
    engine = TrialEngine()
    here = Measurements(machine="one, 2 cores")
    spec = EngineSpec(trial(), weights_sha256="a")
    place = here.place_of(engine, spec)
    asyncio.run(here.keep(place, "trial", {"load_s": 1}, ()))
    assert here.applied(engine, spec).settings.options == {"load_s": 1}
    for other in (
        EngineSpec(trial(), weights_sha256="b"),
        EngineSpec(trial(parallel=2), weights_sha256="a"),
        EngineSpec(trial(options={"complaints": 1}), weights_sha256="a"),
    ):
        assert here.find(here.place_of(engine, other)) is None
        assert here.applied(engine, other) is other
    assert Measurements(machine="one, 4 cores").find(place) is None
    assert here.find(place) is not None


def test_an_engine_that_cannot_be_measured_does_not_hide_the_other(tmp_path: Path) -> None:
    """What was found of one is told, and why nothing was found of the other."""
    settings = auto(quick={"measurement": script({}, status=3)}, full={"measurement": script({})})

    async def main() -> None:
        async with supervised(tmp_path, settings) as supervisor:
            await supervisor.wait_ready("chat", PATIENCE_S)
            quick, full = await supervisor.measure("chat")
            assert "status 3" in (quick.failure or "")
            assert (full.failure, len(full.candidates)) == (None, 2)

    asyncio.run(main())
