"""The process of the `diffusers` engine: `freehold.engines.picture_server` over a loaded pipeline.

Run as `python -m freehold.engines.diffusers_server --spec JSON`. When a caller goes, his picture ends within a layer of
the model.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from freehold.engines.diffusers_model import load
from freehold.engines.diffusers_painting import DiffusersPainter
from freehold.engines.picture_server import run


def _painter(folder: Path, fingerprint: str, options: Mapping[str, Any]) -> DiffusersPainter:
    return DiffusersPainter(load(folder, fingerprint, options))


if __name__ == "__main__":
    run("diffusers_server", _painter)
