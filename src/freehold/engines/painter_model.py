"""The starter painter's networks and how they paint: the structure of DALL-E 2 (arXiv 2204.06125), run by OpenVINO.

A folder holds six networks, written by `freehold.training.image.export`, and what is common to them:

    text       token identifiers and mask → token states and the sentence's unit vector
    prior      a noisy picture vector, time, sentence's vector, token states and mask → the clean picture vector, times
               the square root of its length
    picture    a picture of 64 x 64 → its unit vector
    draft      a picture's vector → what it looks like, roughly
    decoder    a noisy picture, time, draft, picture vector, token states and mask → the clean picture
    upsampler  a picture to the same, four times as large

Pictures are float32, 3 x height x width, from -1 to 1. A flow goes from noise at time 0 to the picture at time 1; its
networks predict the clean end. Randomness comes from NumPy's PCG64 with the picture's seed, so that a seed paints the
same picture whatever else is painted.
"""

import hashlib
import json
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from freehold.engines.openvino_runtime import openvino
from freehold.engines.painter_words import Words

Array = npt.NDArray[np.float32]

NETWORKS = ("text", "prior", "picture", "draft", "decoder", "upsampler")
MANIFEST = "manifest.json"
SIDE = 64
"""Of the pictures that the decoder paints."""
WIDTH = 384
"""Of vectors and token states."""
FACTOR = 4
PRIOR_STEPS = 12
PRIOR_GUIDANCE = 1.5
VARIETY = 0.014
"""How far a variation's vector is from its picture's, for each element of a unit vector."""
LATEST = 0.98
"""The time beyond which a flow's direction is no longer divided out: the clean prediction is taken."""


@dataclass(frozen=True, slots=True)
class Sampling:
    """How a picture is painted.

    Args:
        steps: of the decoder's flow.
        guidance: how much further than without conditions a step goes towards them; 1 is not at all.
        start: the time at which the flow begins, from so much of the draft; 0 is from noise alone.
    """

    steps: int = 8
    guidance: float = 1.3
    start: float = 0.0


@dataclass(frozen=True, slots=True)
class Condition:
    """What is to be painted: a picture vector, and a caption's token states, mask and length; zeros for none."""

    vector: Array
    states: Array
    mask: Array
    tokens: int


@dataclass(frozen=True, slots=True)
class Kept:
    """A picture of which a part stays.

    Args:
        picture: 3 x SIDE x SIDE.
        painted: where it is painted anew, SIDE x SIDE, from 0 to 1.
    """

    picture: Array
    painted: Array


class PainterModel:
    """Loads the networks and paints. Not for several threads at once.

    Args:
        folder: where the networks are.
        threads: that a network runs on; 0 leaves it to OpenVINO.

    Raises:
        OSError: a file is missing.
        ValueError: a file is not the one that the manifest names.
    """

    def __init__(self, folder: Path, threads: int) -> None:
        written = (folder / MANIFEST).read_bytes()
        for name, digest in json.loads(written)["sha256"].items():
            if hashlib.sha256((folder / name).read_bytes()).hexdigest() != digest:
                raise ValueError(f"{name} is not the file that {MANIFEST} names")
        self.fingerprint = f"fp_{hashlib.sha256(written).hexdigest()[:12]}"
        self._words = Words((folder / "vocab.txt").read_text(encoding="utf-8"))
        core = openvino.Core()
        settings = {"INFERENCE_PRECISION_HINT": "f32", "PERFORMANCE_HINT": "LATENCY", "NUM_STREAMS": "1"}
        if threads:
            settings["INFERENCE_NUM_THREADS"] = str(threads)
        self._networks: dict[str, Any] = {
            name: core.compile_model(core.read_model(folder / f"{name}.xml"), "CPU", settings) for name in NETWORKS
        }

    def caption(self, text: str, seed: int) -> Condition:
        """What a caption asks for: its tokens, and the picture vector that the prior imagines for it."""
        tokens, mask = self._words.encode(text)
        shape = np.asarray([mask], np.float32)
        states, sentence = self._run("text", np.asarray([tokens], np.int64), shape)
        x: Array = np.random.default_rng([seed, 1]).standard_normal((1, WIDTH), np.float32)
        told = [_or_nothing(part) for part in (sentence, states, shape)]
        for now, then in _times(PRIOR_STEPS):
            found, bare = self._run("prior", np.repeat(x, 2, axis=0), np.full(2, now, np.float32), *told)[0]
            clean = bare + np.float32(PRIOR_GUIDANCE) * (found - bare)
            x = _step(x, clean[None], now, then)
        return Condition(_unit(x), states, shape, sum(mask))

    def look(self, picture: Array, seed: int) -> Condition:
        """What a picture of SIDE x SIDE shows, as its vector alone, moved a little so that each seed paints another."""
        (vector,) = self._run("picture", picture[None])
        vector = _unit(vector + VARIETY * np.random.default_rng([seed, 1]).standard_normal((1, WIDTH), np.float32))
        places = len(self._words.encode("")[0])
        return Condition(vector, np.zeros((1, places, WIDTH), np.float32), np.zeros((1, places), np.float32), 0)

    def paint(self, condition: Condition, seed: int, sampling: Sampling, kept: Kept | None = None) -> Iterator[Array]:
        """The picture as it is foreseen at each step; the last one is the picture."""
        draw = np.random.default_rng([seed, 2])
        noise = draw.standard_normal((1, 3, SIDE, SIDE), np.float32)
        (draft,) = self._run("draft", condition.vector)
        told = [_or_nothing(part) for part in (draft, condition.vector, condition.states, condition.mask)]
        x: Array = np.asarray(sampling.start * draft + (1 - sampling.start) * noise, np.float32)
        for now, then in _times(sampling.steps, sampling.start):
            times = np.full(2, now, np.float32)
            found, bare = self._run("decoder", np.repeat(x, 2, axis=0), times, *told)[0]
            guided = bare + np.float32(sampling.guidance) * (found - bare)
            clean: Array = np.asarray(np.clip(guided, -1, 1)[None], np.float32)
            x = _step(x, clean, now, then)
            if kept is not None:
                given = kept.picture[None]
                around = then * given + (1 - then) * noise
                x = np.asarray(x * kept.painted + around * (1 - kept.painted), np.float32)
                clean = np.asarray(clean * kept.painted + given * (1 - kept.painted), np.float32)
            yield clean[0]

    def enlarge(self, picture: Array) -> Array:
        """The picture, FACTOR times as large."""
        (found,) = self._run("upsampler", picture[None])
        return np.asarray(np.clip(found[0], -1, 1), np.float32)

    def _run(self, name: str, *inputs: npt.NDArray[Any]) -> list[Array]:
        """The outputs of a network."""
        found = self._networks[name](list(inputs))
        return [np.array(found[index]) for index in range(len(found))]


def _times(steps: int, start: float = 0.0) -> Iterator[tuple[np.float32, np.float32]]:
    """From noise to picture, each step with its beginning and end; finer where the picture takes shape."""
    return pairwise((start + (1 - start) * np.linspace(0.0, 1.0, steps + 1) ** 1.25).astype(np.float32))


def _step(x: Array, clean: Array, now: np.float32, then: np.float32) -> Array:
    """A step of Euler's towards the clean end."""
    if now >= LATEST or then >= 1:
        return clean
    return np.asarray(x + (then - now) * (clean - x) / (1 - now), np.float32)


def _or_nothing(part: Array) -> Array:
    """A condition, and beside it none."""
    return np.concatenate([part, np.zeros_like(part)])


def _unit(x: Array) -> Array:
    return np.asarray(x / np.linalg.norm(x, axis=-1, keepdims=True), np.float32)
