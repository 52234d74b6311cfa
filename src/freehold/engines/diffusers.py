"""The `diffusers` engine: pictures by the pipelines of Hugging Face's library, through torch in a process of its own.

Serves what the catalog keeps as a pipeline: Stable Diffusion, SDXL, SD 3, FLUX, Z-Image, Kandinsky, Karlo and the like.
Which operations a deployment has follows from the pipeline: `diffusers_model` tells how. The process is
`diffusers_server`; torch and diffusers come with `pip install 'freehold[gpu]'`.
"""

import json
import re
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import ClassVar, Final

from freehold.engines.base import Connection, Engine, EngineSpec, Launch, check_options
from freehold.engines.picture_http import PictureConnection
from freehold.errors import ConfigError
from freehold.types.deployment import DeploymentSettings

OPTIONS: Final[Mapping[str, type | tuple[type, ...]]] = {
    "device": str,
    "dtype": str,
    "threads": int,
    "steps": int,
    "scheduler": str,
    "guidance_scale": (int, float),
    "negative_prompt": str,
    "edit_strength": (int, float),
    "variation_strength": (int, float),
    "sizes": list,
    "lora": list,
}
DEVICE: Final = re.compile(r"auto|cpu|mps|cuda(:\d{1,2})?")
DTYPES: Final = ("auto", "float32", "float16", "bfloat16")
SCHEDULER: Final = re.compile(r"[A-Z][A-Za-z0-9]{0,60}Scheduler")
SIZE: Final = re.compile(r"([1-9]\d{1,3})x([1-9]\d{1,3})")
RANGES: Final = {
    "threads": (1, 1024),
    "steps": (1, 1000),
    "guidance_scale": (0, 100),
    "edit_strength": (0.01, 1),
    "variation_strength": (0.01, 1),
}
ENVIRONMENT: Final = {
    "CUBLAS_WORKSPACE_CONFIG": ":4096:8",
    "DIFFUSERS_VERBOSITY": "error",
    "HF_HUB_DISABLE_TELEMETRY": "1",
    "HF_HUB_OFFLINE": "1",
    "TRANSFORMERS_OFFLINE": "1",
    "TRANSFORMERS_VERBOSITY": "error",
}
"""Nothing is fetched behind the catalog's back; CUDA's matrix products are the same each time."""


class DiffusersEngine(Engine):
    """Paints with a pipeline on this machine."""

    name: ClassVar[str] = "diffusers"

    def validate(self, settings: DeploymentSettings) -> None:
        """See `Engine.validate`."""
        options = check_options(settings, OPTIONS)
        if settings.base_url is not None:
            raise ConfigError("base_url: the engine 'diffusers' runs here and has none", param="base_url")
        if settings.task != "images":
            raise ConfigError("task: the engine 'diffusers' paints; set task = \"images\"", param="task")
        for name, (least, most) in RANGES.items():
            if name in options and not least <= options[name] <= most:
                raise _option_error(name, f"must be from {least} to {most}")
        if not DEVICE.fullmatch(options.get("device", "auto")):
            raise _option_error("device", "must be auto, cpu, cuda, cuda:0 or the like, or mps")
        if options.get("dtype", "auto") not in DTYPES:
            raise _option_error("dtype", f"must be one of: {', '.join(DTYPES)}")
        if not SCHEDULER.fullmatch(options.get("scheduler", "DDIMScheduler")):
            raise _option_error("scheduler", "must be the name of a scheduler's class, such as DDIMScheduler")
        for size in options.get("sizes", []):
            found = SIZE.fullmatch(size) if isinstance(size, str) else None
            if found is None or any(int(side) % 8 for side in found.groups()):
                raise _option_error("sizes", 'must be a list such as ["512x512"], sides being multiples of 8')
        _check_lora(options.get("lora", []))

    def launch(self, spec: EngineSpec, socket: Path) -> Launch:
        """See `Engine.launch`."""
        if spec.weights is None:
            raise ConfigError("model: the engine 'diffusers' needs a pipeline", param="model")
        body = {
            "socket": str(socket),
            "model": str(spec.weights),
            "fingerprint": f"fp_{spec.weights_sha256[:12] or 'diffusers'}",
            "options": spec.settings.options,
        }
        argv = (sys.executable, "-m", "freehold.engines.diffusers_server", "--spec", json.dumps(body))
        return Launch(argv, ENVIRONMENT)

    def connect(self, spec: EngineSpec, socket: Path) -> Connection:
        """See `Engine.connect`. A pipeline works on one picture at a time."""
        return PictureConnection(model=spec.settings.model, socket=socket, parallel=spec.settings.parallel or 1)


def _check_lora(entries: list[object]) -> None:
    for entry in entries:
        scale = entry.get("scale", 1.0) if isinstance(entry, dict) else None
        known = isinstance(entry, dict) and entry.keys() <= {"path", "scale"} and isinstance(entry.get("path"), str)
        if not known or isinstance(scale, bool) or not isinstance(scale, int | float):
            raise _option_error("lora", "must be a list of tables with 'path' and, if need be, 'scale'")


def _option_error(name: str, problem: str) -> ConfigError:
    return ConfigError(f"options.{name}: {problem}", param=f"options.{name}")
