"""Writes the trained networks as `freehold.engines.painter_model` reads them: OpenVINO IR, weights in eight bits.

Matrices and kernels are kept as signed bytes with a scale for each output (NNCF, without data); the up-sampler, which
is small, in half precision.
"""

import argparse
import hashlib
import json
import shutil
import sys
from importlib import import_module
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from freehold.engines.openvino_runtime import openvino
from freehold.engines.painter_model import MANIFEST, NETWORKS
from freehold.engines.painter_words import MAX_TOKENS
from freehold.training.image.decoder import SIDE, Decoder
from freehold.training.image.looking import Looking
from freehold.training.image.prior import Prior
from freehold.training.image.text_encoder import WIDTH, load_text_encoder
from freehold.training.image.trained import load_averaged
from freehold.training.image.upsampler import Upsampler
from freehold.training.process import worker_status


def export(folder: Path, minilm: Path, out: Path) -> None:
    """Write the networks of a training folder, the vocabulary and the manifest.

    Raises:
        ConfigError: a stage has not been trained.
    """
    out.mkdir(parents=True, exist_ok=True)
    text, _ = load_text_encoder(minilm)
    examples = _examples()
    looking = Looking()
    stages: dict[str, nn.Module] = {
        "encoder": looking,
        "prior": Prior(),
        "decoder": Decoder(),
        "upsampler": Upsampler(),
    }
    for name, model in stages.items():
        load_averaged(folder / name, model)
    models = {**stages, "text": text, "picture": looking.encoder, "draft": looking.draft}
    for name in NETWORKS:
        _write(models[name], examples[name], out / f"{name}.xml", small=name == "upsampler")
    shutil.copy(minilm / "vocab.txt", out / "vocab.txt")
    files = sorted(file for file in out.iterdir() if file.suffix in {".xml", ".bin", ".txt"})
    digests = {file.name: hashlib.sha256(file.read_bytes()).hexdigest() for file in files}
    (out / MANIFEST).write_text(json.dumps({"sha256": digests}, indent=1) + "\n", encoding="utf-8")


def _write(model: nn.Module, example: tuple[Tensor, ...], file: Path, *, small: bool) -> None:
    """Convert one network; the batch and, for the up-sampler, the side stay open."""
    found = openvino.convert_model(model, example_input=example)
    shapes: dict[int, Any] = {}
    for index, tensor in enumerate(example):
        free = {0} | ({2, 3} if small else set())
        shapes[index] = openvino.PartialShape([-1 if axis in free else size for axis, size in enumerate(tensor.shape)])
    found.reshape(shapes)
    if not small:
        nncf = import_module("nncf")  # imported once telemetry is out of the way
        found = nncf.compress_weights(found, mode=nncf.CompressWeightsMode.INT8_SYM)
    openvino.save_model(found, file, compress_to_fp16=True)


def _examples() -> dict[str, tuple[Tensor, ...]]:
    """Inputs of each network, in order, two of each."""
    mask = torch.ones(2, MAX_TOKENS)
    states = torch.randn(2, MAX_TOKENS, WIDTH)
    time = torch.tensor([0.3, 0.6])
    vector = torch.randn(2, WIDTH)
    picture = torch.randn(2, 3, SIDE, SIDE)
    return {
        "text": (torch.ones(2, MAX_TOKENS, dtype=torch.int64), mask),
        "prior": (vector, time, vector, states, mask),
        "picture": (picture,),
        "draft": (vector,),
        "decoder": (picture, time, picture, vector, states, mask),
        "upsampler": (picture,),
    }


def main() -> None:
    """Run as `python -m freehold.training.image.export FOLDER OUT`."""
    parser = argparse.ArgumentParser(prog="export")
    parser.add_argument("folder", type=Path)
    parser.add_argument("out", type=Path)
    arguments = parser.parse_args()
    export(arguments.folder, arguments.folder / "minilm", arguments.out)


if __name__ == "__main__":
    sys.exit(worker_status(main))
