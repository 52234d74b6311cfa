"""One picture of an exported pipeline: what it is called with, its noise, its unfinished states, how it is stopped."""

import math
import threading
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt
from PIL import Image

from freehold.catalog.pipelines import NETWORK
from freehold.engines.openvino_genai import openvino_genai
from freehold.engines.openvino_images_model import DEVICE, LoadedModel, config_of, vae_factor
from freehold.engines.openvino_runtime import openvino
from freehold.engines.picture_orders import (
    EDIT_STRENGTH,
    EDITS,
    VARIATION_STRENGTH,
    VARIATIONS,
    Abandoned,
    Emit,
    Order,
    Painter,
    completed_event,
    finished,
    partial_event,
)

Latents: TypeAlias = npt.NDArray[np.float32]

PACKED = frozenset({"FluxPipeline", "FluxInpaintPipeline", "FluxFillPipeline"})
"""Pipelines that keep a latent as a row of squares of 2 x 2."""


class OpenVinoPainter(Painter):
    """Paints one picture after the other.

    Args:
        model: paints them.
    """

    def __init__(self, model: LoadedModel) -> None:
        self._model = model
        self.abilities = model.abilities
        self._states = _States(model)

    def paint(self, order: Order, emit: Emit, stop: threading.Event) -> None:
        """See `Painter.paint`; when `stop` is set the work ends with the step after the one that is computed."""
        steps = 0
        if order.partial_images:
            self._states.load()
        for index in range(order.n):
            picture, taken = self._picture(order, index, emit, stop)
            steps += taken
            emit(completed_event(order, index, picture))
        tokens = int(self._model.tokenizer.encode(order.prompt).attention_mask.data.sum()) if order.prompt else 0
        emit({"type": "usage", "input_tokens": tokens, "steps": steps})

    def _picture(self, order: Order, index: int, emit: Emit, stop: threading.Event) -> tuple[Image.Image, int]:
        """A picture, and the steps that it took."""
        pipeline = self._model.pipelines[order.operation]

        def show(partial_index: int, latents: Latents) -> None:
            picture = self._states.visible(latents, order.size)
            if picture is not None:
                emit(partial_event(index, partial_index, finished(order, picture)))

        with ThreadPoolExecutor(max_workers=1, thread_name_prefix="states") as states:
            watch = _Watch(order.partial_images, stop, lambda number, latents: states.submit(show, number, latents))
            noise = _Noise(order.seed + index)
            painted = pipeline.generate(
                order.prompt,
                *self._pictures(order),
                **self._arguments(order, pipeline),
                generator=noise,
                callback=watch,
            )
            if stop.is_set():
                raise Abandoned
            pixels = painted.data[0].copy()  # the library paints the next picture into the same memory
            watch.settle()
        taken = len(pipeline.get_performance_metrics().raw_metrics.iteration_durations)
        return finished(order, Image.fromarray(pixels)), taken

    def _pictures(self, order: Order) -> list[Any]:
        """The picture, and the mask where the pipeline takes it: one each, height x width x channels."""
        if order.image is None:
            return []
        given = [openvino.Tensor(np.array(order.image)[None])]
        if order.operation == EDITS and self._model.masked and order.mask is not None:
            given.append(openvino.Tensor(np.array(order.mask)[None, :, :, None]))
        return given

    def _arguments(self, order: Order, pipeline: Any) -> dict[str, Any]:
        """What the pipeline is called with; what is not given is the pipeline's own."""
        options = self._model.options
        width, height = order.size
        wanted: dict[str, Any] = {
            "width": width,
            "height": height,
            "num_inference_steps": options.get("steps"),
            "guidance_scale": options.get("guidance_scale"),
            "negative_prompt": options.get("negative_prompt") or None,
            "strength": self._strength(order, pipeline),
            "adapters": self._model.adapters,
        }
        return {name: value for name, value in wanted.items() if value is not None}

    def _strength(self, order: Order, pipeline: Any) -> float | None:
        """How far to go away from the given picture; None leaves it to the pipeline."""
        options = self._model.options
        if order.image is None:
            return None
        if order.operation == EDITS and self._model.masked:
            given = options.get("edit_strength")
            return None if given is None else float(given)
        if pipeline.get_generation_config().strength >= 1:  # it reads the picture besides the noise, not instead of it
            return None
        if order.operation == VARIATIONS:
            return float(options.get("variation_strength", VARIATION_STRENGTH))
        return float(options.get("edit_strength", EDIT_STRENGTH))


class _Noise(openvino_genai.Generator):  # type: ignore[misc]  # the library has no types
    """Noise from a seed of any length: the library's own generator cuts seeds off after 32 bits."""

    def __init__(self, seed: int) -> None:
        super().__init__()
        self._draw = np.random.default_rng(seed)

    def next(self) -> float:
        return float(self._draw.standard_normal(dtype=np.float32))

    def randn_tensor(self, shape: Any) -> Any:
        return openvino.Tensor(self._draw.standard_normal(tuple(shape), np.float32))

    def seed(self, new_seed: int) -> None:
        self._draw = np.random.default_rng(new_seed)


class _Watch:
    """Is told of each step, in a thread of the library: hands on the states to show, and says whether to stop.

    The library does not wait for it, and leaves out calls that are still due when it has finished; so it only copies.
    States are spread evenly over the steps. Nothing is raised here: that would end the process.
    """

    def __init__(self, wanted: int, stop: threading.Event, show: Callable[[int, Latents], "Future[None]"]) -> None:
        self._wanted = wanted
        self._stop = stop
        self._show = show
        self._shown: list[Future[None]] = []

    def __call__(self, step: int, total: int, latents: Any) -> bool:
        number = len(self._shown)
        due = math.ceil((number + 1) * total / (self._wanted + 1))
        if not self._stop.is_set() and number < self._wanted and due <= step + 1 < total:
            self._shown.append(self._show(number, np.array(latents.data, np.float32)))
        return self._stop.is_set()

    def settle(self) -> None:
        """Wait for the states; what went wrong with one goes wrong with the picture."""
        for shown in self._shown:
            shown.result()


class _States:
    """Makes latents visible, with a decoder of its own, loaded when states are first asked for.

    The pipeline's own decoder cannot be had while it paints: the library uses it at the end, without asking.
    """

    def __init__(self, model: LoadedModel) -> None:
        self._model = model
        self._config = config_of(model.folder / "vae_decoder")
        self._known = model.index.components.get("vae") == "AutoencoderKL"
        self._decoder: Any = None

    def load(self) -> None:
        """Load the decoder, before the first step: afterwards it would take the steps' time."""
        if self._known and self._decoder is None:
            network = self._model.folder / "vae_decoder" / NETWORK
            self._decoder = openvino.Core().compile_model(network, DEVICE, dict(self._model.properties))

    def visible(self, latents: Latents, size: tuple[int, int]) -> Image.Image | None:
        """The picture that a latent stands for; None where it is of a kind that is not known here."""
        if self._model.index.class_name in PACKED and latents.ndim == 3:
            latents = self._unpacked(latents, size)
        if self._decoder is None or latents.ndim != 4 or latents.shape[1] != self._config.get("latent_channels", 4):
            return None
        scaled = latents / self._config.get("scaling_factor", 1.0) + (self._config.get("shift_factor") or 0.0)
        decoded = self._decoder(scaled.astype(np.float32))[0][0]
        return Image.fromarray(np.rint((decoded.transpose(1, 2, 0) / 2 + 0.5).clip(0, 1) * 255).astype(np.uint8))

    def _unpacked(self, latents: Latents, size: tuple[int, int]) -> Latents:
        """The latent of a row of squares, each of channels x 2 x 2."""
        height, width = (side // (2 * vae_factor(self._model.folder)) for side in reversed(size))
        squares = latents.reshape(1, height, width, -1, 2, 2)
        return np.ascontiguousarray(squares.transpose(0, 3, 1, 4, 2, 5).reshape(1, -1, 2 * height, 2 * width))
