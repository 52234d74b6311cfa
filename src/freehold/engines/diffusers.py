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
from freehold.engines.picture_options import check_painting, check_use, option_error
from freehold.errors import ConfigError
from freehold.types.address import Address
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
        check_use(settings)
        if not DEVICE.fullmatch(options.get("device", "auto")):
            raise option_error("device", "must be auto, cpu, cuda, cuda:0 or the like, or mps")
        if options.get("dtype", "auto") not in DTYPES:
            raise option_error("dtype", f"must be one of: {', '.join(DTYPES)}")
        check_painting(options)

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

    def connect(self, spec: EngineSpec, socket: Address) -> Connection:
        """See `Engine.connect`. A pipeline works on one picture at a time."""
        return PictureConnection(model=spec.settings.model, socket=socket, parallel=spec.settings.parallel or 1)
