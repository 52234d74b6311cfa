"""The starter painter: paints what a caption says, on a CPU, with weights that come with Freehold.

It knows common objects, singly, by number or in pairs, on plain colours and some outdoor backgrounds; the model card
beside the weights tells which and how well. The process is `painter_server`.
"""

import json
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import ClassVar

from freehold.engines.base import Engine, EngineSpec, Launch, check_options
from freehold.engines.painter_traits import FEATURES, SIZES
from freehold.engines.picture_http import PictureConnection
from freehold.errors import ConfigError
from freehold.types.address import Address
from freehold.types.deployment import DeploymentSettings
from freehold.types.engine import Feature, Traits

WEIGHTS = Path(__file__).resolve().parents[1] / "models" / "painter"
"""The weights that come with the package."""
PARALLEL = 4
"""Requests at once, where the deployment does not say: their steps take turns."""
MOST_STEPS = 200
MOST_THREADS = 256

OPTIONS: Mapping[str, type | tuple[type, ...]] = {
    "steps": int,
    "guidance": (int, float),
    "start": (int, float),
    "threads": int,
    "folder": str,
}
"""`folder` has weights that `freehold train image` made; without it, those of the package are used."""


class PainterEngine(Engine):
    """Paints with the starter painter."""

    name: ClassVar[str] = "painter"
    needs_weights: ClassVar[bool] = False

    def validate(self, settings: DeploymentSettings) -> None:
        """See `Engine.validate`."""
        options = check_options(settings, OPTIONS)
        for name, most in (("steps", MOST_STEPS), ("threads", MOST_THREADS)):
            if not 1 <= options.get(name, 1) <= most:
                raise _option_error(name, f"must be from 1 to {most}")
        if not 1 <= options.get("guidance", 1) <= 20:
            raise _option_error("guidance", "must be from 1 to 20")
        if not 0 <= options.get("start", 0) <= 0.9:
            raise _option_error("start", "must be from 0 to 0.9")
        if settings.base_url is not None:
            raise ConfigError("base_url: the engine 'painter' runs here and has none", param="base_url")
        if settings.task != "images":
            raise ConfigError("task: the engine 'painter' paints; set task to 'images'", param="task")

    def launch(self, spec: EngineSpec, socket: Path) -> Launch:
        """See `Engine.launch`."""
        body = {"socket": str(socket), "folder": str(WEIGHTS), **spec.settings.options}
        return Launch((sys.executable, "-m", "freehold.engines.painter_server", "--spec", json.dumps(body)))

    def expected(self, settings: DeploymentSettings) -> Traits:
        """See `Engine.expected`."""
        return Traits(frozenset(map(Feature, FEATURES)), parallel=settings.parallel or PARALLEL, sizes=SIZES)

    def connect(self, spec: EngineSpec, socket: Address) -> PictureConnection:
        """See `Engine.connect`."""
        return PictureConnection(model=spec.settings.model, socket=socket, parallel=spec.settings.parallel or PARALLEL)


def _option_error(name: str, problem: str) -> ConfigError:
    return ConfigError(f"options.{name}: {problem}", param=f"options.{name}")
