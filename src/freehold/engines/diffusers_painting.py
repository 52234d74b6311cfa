"""One picture of a pipeline: what it is called with, its unfinished states, the model's own safety, what is kept."""

import math
import threading
from collections.abc import Callable, Mapping
from typing import Any

import torch
from PIL import Image

from freehold.engines.diffusers_model import LoadedModel, parameters
from freehold.engines.picture_orders import (
    EDIT_STRENGTH,
    VARIATION_STRENGTH,
    VARIATIONS,
    Abandoned,
    Emit,
    Order,
    Painter,
    Unsafe,
    completed_event,
    finished,
    partial_event,
)


class DiffusersPainter(Painter):
    """Paints one picture after the other.

    Args:
        model: paints them.
    """

    def __init__(self, model: LoadedModel) -> None:
        self._model = model
        self.abilities = model.abilities
        self._steps = 0
        self._stop = threading.Event()
        torch.nn.modules.module.register_module_forward_pre_hook(self._entered)

    def paint(self, order: Order, emit: Emit, stop: threading.Event) -> None:
        """See `Painter.paint`; when `stop` is set the work ends within a layer of the model."""
        self._stop, self._steps = stop, 0
        for index in range(order.n):
            picture = self._picture(order, index, emit)
            emit(completed_event(order, index, picture))
        emit({"type": "usage", "input_tokens": self._tokens(order), "steps": self._steps})

    def _entered(self, module: Any, _inputs: Any) -> None:
        """Called before each layer runs: the place to stop, and to count."""
        if self._stop.is_set():
            raise Abandoned
        self._steps += module in self._model.denoisers

    def _picture(self, order: Order, index: int, emit: Emit) -> Image.Image:
        pipeline = self._model.pipelines[order.operation]
        takes = parameters(pipeline)
        arguments = self._arguments(order, order.seed + index, takes)
        if order.partial_images and "callback_on_step_end" in takes:
            arguments["callback_on_step_end"] = _Partials(order, index, emit, self._quietly)
        with torch.inference_mode():
            result = pipeline(**arguments)
        if any(getattr(result, "nsfw_content_detected", None) or ()):
            raise Unsafe
        return finished(order, result.images[0].convert("RGB"))

    def _quietly(self, work: Callable[[], Any]) -> Any:
        """Run layers that are no steps."""
        before = self._steps
        result = work()
        self._steps = before
        return result

    def _arguments(self, order: Order, seed: int, takes: Mapping[str, Any]) -> dict[str, Any]:
        """What the pipeline is called with, as far as it takes it."""
        options = self._model.options
        width, height = order.size
        wanted: dict[str, Any] = {
            "num_inference_steps": options.get("steps"),
            "guidance_scale": options.get("guidance_scale"),
            "negative_prompt": options.get("negative_prompt"),
            "width": width,
            "height": height,
            "image": order.image,
            "mask_image": order.mask,
            "strength": self._strength(order, takes),
            "generator": torch.Generator("cpu").manual_seed(seed),  # the same noise on every device
        }
        if "prompt" in takes:
            wanted["prompt"] = order.prompt
        if "decoder_num_inference_steps" in takes:  # unCLIP has three schedules; the options mean the main one
            wanted["decoder_num_inference_steps"] = options.get("steps")
            wanted["decoder_guidance_scale"] = options.get("guidance_scale")
        return {name: value for name, value in wanted.items() if value is not None and name in takes}

    def _strength(self, order: Order, takes: Mapping[str, Any]) -> float | None:
        """How far to go away from the given picture; None leaves it to the pipeline."""
        options = self._model.options
        if order.operation == VARIATIONS:
            return float(options.get("variation_strength", VARIATION_STRENGTH))
        if "edit_strength" in options:
            return float(options["edit_strength"])
        return None if "mask_image" in takes else EDIT_STRENGTH

    def _tokens(self, order: Order) -> int:
        """The tokens of the prompt by the model's own tokenizer; an estimate where it has none that tells."""
        tokenizer = getattr(self._model.pipelines[order.operation], "tokenizer", None)
        if not order.prompt:
            return 0
        if tokenizer is None:
            return math.ceil(len(order.prompt) / 4)
        return len(tokenizer(order.prompt, truncation=False, verbose=False).input_ids)


class _Partials:
    """Shows unfinished states of a picture, evenly spread over its steps; a pipeline calls it after each.

    A state that cannot be made visible, or that the model's safety checker refuses, is not shown.
    """

    def __init__(self, order: Order, index: int, emit: Emit, quietly: Callable[[Callable[[], Any]], Any]) -> None:
        self._order = order
        self._index = index
        self._emit = emit
        self._quietly = quietly
        self._shown = 0

    def __call__(self, pipeline: Any, step: int, _timestep: Any, values: dict[str, Any]) -> dict[str, Any]:
        total = max(1, int(getattr(pipeline, "num_timesteps", 0) or 1))
        due = math.ceil((self._shown + 1) * total / (self._order.partial_images + 1))
        if self._shown < self._order.partial_images and due <= step + 1 < total:
            picture = self._quietly(lambda: self._visible(pipeline, values.get("latents")))
            if picture is not None:
                self._emit(partial_event(self._index, self._shown, picture))
            self._shown += 1
        return {}

    def _visible(self, pipeline: Any, latents: Any) -> Image.Image | None:
        vae, processor = getattr(pipeline, "vae", None), getattr(pipeline, "image_processor", None)
        if vae is None or processor is None or latents is None:
            return None
        width, height = self._order.size
        if latents.ndim == 3 and hasattr(pipeline, "_unpack_latents"):  # FLUX keeps them as a sequence
            latents = pipeline._unpack_latents(latents, height, width, pipeline.vae_scale_factor)  # noqa: SLF001
        if latents.ndim != 4:
            return None
        scaled = latents / vae.config.scaling_factor + (getattr(vae.config, "shift_factor", None) or 0.0)
        decoded = vae.decode(scaled.to(vae.dtype), return_dict=False)[0]
        if getattr(pipeline, "safety_checker", None) is not None:
            decoded, refused = pipeline.run_safety_checker(decoded, decoded.device, decoded.dtype)
            if any(refused or ()):
                return None
        return finished(self._order, processor.postprocess(decoded, output_type="pil")[0].convert("RGB"))
