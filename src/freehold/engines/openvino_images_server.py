"""The process of the `openvino_images` engine: `freehold.engines.picture_server` over a loaded pipeline.

Run as `python -m freehold.engines.openvino_images_server --spec JSON`. When a caller goes, his picture ends with the
step after the one that is computed: the library does not stop within a step.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from freehold.engines.openvino_images_model import load
from freehold.engines.openvino_images_painting import OpenVinoPainter
from freehold.engines.picture_server import run


def _painter(folder: Path, fingerprint: str, options: Mapping[str, Any]) -> OpenVinoPainter:
    return OpenVinoPainter(load(folder, fingerprint, options))


if __name__ == "__main__":
    run("openvino_images_server", _painter)
