"""The `openvino_images` engine: pictures on CPUs by pipelines that were exported to OpenVINO, without torch.

Serves a folder as `optimum-cli export openvino` writes it, by the pipelines of OpenVINO GenAI: Stable Diffusion, SDXL,
SD 3, latent consistency models, FLUX and what else the installed version knows. Which operations a deployment has
follows from the folder: `openvino_images_model` tells how. The process is `openvino_images_server`; the library comes
with `pip install 'freehold[openvino]'`.
"""

import json
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
    "threads": int,
    "dtype": str,
    "steps": int,
    "scheduler": str,
    "guidance_scale": (int, float),
    "negative_prompt": str,
    "edit_strength": (int, float),
    "variation_strength": (int, float),
    "sizes": list,
    "lora": list,
}
DTYPES: Final = ("auto", "float32", "bfloat16", "float16")
SCHEDULERS: Final = (
    "DDIMScheduler",
    "EulerAncestralDiscreteScheduler",
    "EulerDiscreteScheduler",
    "FlowMatchEulerDiscreteScheduler",
    "LCMScheduler",
    "PNDMScheduler",
)
"""Those that OpenVINO GenAI has."""


class OpenVinoImagesEngine(Engine):
    """Paints with an exported pipeline on this machine's CPU."""

    name: ClassVar[str] = "openvino_images"

    def validate(self, settings: DeploymentSettings) -> None:
        """See `Engine.validate`."""
        options = check_options(settings, OPTIONS)
        check_use(settings)
        if options.get("dtype", "auto") not in DTYPES:
            raise option_error("dtype", f"must be one of: {', '.join(DTYPES)}")
        check_painting(options)
        if options.get("scheduler", SCHEDULERS[0]) not in SCHEDULERS:
            raise option_error("scheduler", f"must be one of: {', '.join(SCHEDULERS)}")
        if options.get("negative_prompt") and options.get("guidance_scale", 2) <= 1:
            raise option_error("negative_prompt", "has no effect with a guidance_scale of 1 or less; leave one out")

    def launch(self, spec: EngineSpec, socket: Path) -> Launch:
        """See `Engine.launch`."""
        if spec.weights is None:
            raise ConfigError("model: the engine 'openvino_images' needs a pipeline", param="model")
        body = {
            "socket": str(socket),
            "model": str(spec.weights),
            "fingerprint": f"fp_{spec.weights_sha256[:12] or 'openvino_images'}",
            "options": spec.settings.options,
        }
        return Launch((sys.executable, "-m", "freehold.engines.openvino_images_server", "--spec", json.dumps(body)))

    def connect(self, spec: EngineSpec, socket: Address) -> Connection:
        """See `Engine.connect`. A pipeline works on one picture at a time."""
        return PictureConnection(model=spec.settings.model, socket=socket, parallel=spec.settings.parallel or 1)
