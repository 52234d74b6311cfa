"""Checks of the engines: each is imported and, where it needs nothing else, really started."""

import asyncio
import signal
import sys
import tempfile
from importlib.util import find_spec
from pathlib import Path

import structlog

from freehold.cli.checks.result import Finding, Sample, fail, ok, warn
from freehold.cluster.process import EngineProcess, logged
from freehold.engines.base import Engine, EngineSpec
from freehold.engines.registry import ENGINES, get_engine
from freehold.errors import EngineUnavailable, FreeholdError
from freehold.types.deployment import DeploymentSettings
from freehold.types.engine import Traits

_START_TIMEOUT_S = 60.0
_POLL_S = 0.05
_NATIVE = {"llamacpp": "xllamacpp"}
"""Engine → the native library that its process loads; a CPU that lacks what it was built for kills that process."""
_OPTIONAL = {
    "diffusers": ("gpu", ("torch", "diffusers", "transformers")),
    "openvino": ("openvino", ("openvino_genai",)),
    "openvino_images": ("openvino", ("openvino_genai",)),
    "vllm": ("gpu", ("vllm", "torch")),
}
"""Engines that an extra of the package brings: the extra, and what is in it."""


async def check_engines(sample: Sample | None) -> list[Finding]:
    """Each engine that there is.

    Args:
        sample: the model with which to start engines that need one; without it their library is only loaded.
    """
    return [await _check(name, sample) for name in sorted(ENGINES)]


def check_ray() -> Finding:
    """Whether this machine can be a node of a cluster."""
    return _installed("cluster", "cluster", ("ray",), "installed; 'freehold cluster up' makes this machine a node")


async def _check(name: str, sample: Sample | None) -> Finding:
    check = f"engine {name}"
    try:
        engine = get_engine(name)
    except ImportError as exc:
        return fail(check, f"cannot be imported: {exc}", "install the package again: 'make setup'")
    if name == "remote":
        return ok(check, "nothing to start here")
    if name in _OPTIONAL:
        return _installed(check, *_OPTIONAL[name])
    library = _NATIVE.get(name)
    if library:
        problem = await _load(library)
        if problem:
            return fail(check, f"{library} {problem}", "this build does not run here; use another machine, or 'remote'")
    if engine.needs_weights and sample is None:
        return warn(
            check,
            f"{library or name} loads; not started, for there is no model here",
            "freehold pull smollm2-135m-instruct",
        )
    return await _try(check, engine, sample)


def _installed(
    check: str, extra: str, libraries: tuple[str, ...], there: str = "installed; starts with its first deployment"
) -> Finding:
    """Whether an engine's libraries are there. Whoever has not installed them does not miss them."""
    missing = [library for library in libraries if find_spec(library) is None]
    if missing:
        return ok(check, f"not installed ({', '.join(missing)}); 'pip install freehold[{extra}]' brings it")
    return ok(check, there)


async def _load(library: str) -> str:
    """What goes wrong when a library is imported in a process of its own; empty if nothing does."""
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-c",
        f"import {library}",
        stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.DEVNULL,
        stderr=asyncio.subprocess.PIPE,
    )
    _, errors = await process.communicate()
    code = process.returncode or 0
    if code < 0:
        return f"dies on import with {signal.Signals(-code).name}"
    last = errors.decode("utf-8", "replace").strip().rpartition("\n")[2]
    return f"cannot be imported: {last}" if code else ""


async def _try(check: str, engine: Engine, sample: Sample | None) -> Finding:
    """Start the engine, ask what it can do, and stop it."""
    options = {"context_length": 512, "parallel": 1} if engine.needs_weights else {}
    settings = DeploymentSettings(name="doctor", model="doctor", engine=engine.name, **options)  # type: ignore[arg-type]
    spec = EngineSpec(settings, weights=sample.file if sample and engine.needs_weights else None)
    started = asyncio.get_running_loop().time()
    try:
        traits = await _start(engine, spec)
    except (FreeholdError, OSError, TimeoutError) as exc:
        reason = exc.message if isinstance(exc, FreeholdError) else str(exc) or "no answer in time"
        which = f" with the model '{sample.name}'" if sample and engine.needs_weights else ""
        return fail(check, f"does not start{which}: {reason}", "run 'freehold serve' and read its log for this engine")
    seconds = asyncio.get_running_loop().time() - started
    return ok(check, f"starts in {seconds:.1f} s; {len(traits.features)} features")


async def _start(engine: Engine, spec: EngineSpec) -> Traits:
    """What the engine says of itself after a start.

    Raises:
        EngineUnavailable: it ended.
        TimeoutError: it is not ready in time.
        FreeholdError: it cannot be what its settings ask for.
    """
    with tempfile.TemporaryDirectory(prefix="freehold-") as folder:
        socket = Path(folder) / "engine.sock"
        launch = engine.launch(spec, socket)
        heard = logged(structlog.get_logger(__name__))
        process = await EngineProcess.start(launch.argv, launch.env, heard) if launch else None
        connection = engine.connect(spec, socket)
        try:
            async with asyncio.timeout(_START_TIMEOUT_S):
                while True:
                    try:
                        return await connection.open()
                    except EngineUnavailable:
                        if process and process.exited.done():
                            await process.read_rest()
                            last = process.tail[-1] if process.tail else ""
                            raise EngineUnavailable(f"{process.describe_exit()}: {last}") from None
                        await asyncio.sleep(_POLL_S)
        finally:
            await connection.close()
            if process:
                await process.terminate(5.0)
