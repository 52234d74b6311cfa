"""One picture of a pipeline: what it is called with, its unfinished states, the model's own safety, what is kept."""

import base64
import io
import math
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, TypeAlias

import torch
from PIL import Image

from freehold.engines.diffusers_model import EDITS, GENERATIONS, VARIATIONS, LoadedModel, parameters

MAX_SIDE = 8192
EDIT_STRENGTH = 0.8
"""How much is changed where a mask is put over image-to-image; a pipeline that takes the mask has its own default."""
VARIATION_STRENGTH = 0.6
"""How far a variation by image-to-image goes away from its picture."""

Emit: TypeAlias = Callable[[Mapping[str, Any]], None]


class WrongRequest(ValueError):
    """The request is answered with status 400."""


class Unsafe(Exception):
    """The model's own safety checker has refused the picture."""


class Abandoned(Exception):
    """Nobody waits for the picture any more."""


@dataclass(frozen=True, slots=True)
class Order:
    """What is asked for: see `freehold.engines.picture_http`."""

    operation: str
    prompt: str
    n: int
    size: tuple[int, int]
    seed: int
    partial_images: int
    image: Image.Image | None
    mask: Image.Image | None


def read_order(operation: str, body: Mapping[str, Any], sizes: tuple[str, ...]) -> Order:
    """The order in a request's body.

    Raises:
        WrongRequest: it is not as the contract has it.
    """
    try:
        if body["size"] not in sizes:
            raise WrongRequest(f"size: there are {', '.join(sizes)}")
        width, height = (int(side) for side in body["size"].split("x"))
        image = None if operation == GENERATIONS else _decoded(body["image"], "RGB", (width, height))
        mask = _decoded(body["mask"], "L", (width, height)) if operation == EDITS else None
        prompt = "" if operation == VARIATIONS else str(body["prompt"])
        count, partials = int(body["n"]), int(body.get("partial_images") or 0)
        return Order(operation, prompt, count, (width, height), int(body["seed"]), partials, image, mask)
    except (KeyError, TypeError, AttributeError) as exc:
        raise WrongRequest(f"the request lacks or garbles {exc}") from exc


def _decoded(text: str, mode: str, size: tuple[int, int]) -> Image.Image:
    try:
        with Image.open(io.BytesIO(base64.b64decode(text, validate=True)), formats=("PNG",)) as picture:
            if picture.size != size:
                raise WrongRequest("a picture has not the size that is asked for")
            return picture.convert(mode)
    except (ValueError, OSError, SyntaxError) as exc:
        raise exc if isinstance(exc, WrongRequest) else WrongRequest("a picture is no PNG") from exc


class Painter:
    """Paints one picture after the other.

    Args:
        model: paints them.
    """

    def __init__(self, model: LoadedModel) -> None:
        self._model = model
        self._steps = 0
        self._stop = threading.Event()
        torch.nn.modules.module.register_module_forward_pre_hook(self._entered)

    def paint(self, order: Order, emit: Emit, stop: threading.Event) -> None:
        """Paint all that an order asks for; picture `i` is that of the seed `order.seed + i`, whatever the others are.

        Args:
            order: what is asked for.
            emit: is told each event.
            stop: when it is set the work ends within a layer of the model.

        Raises:
            Unsafe, Abandoned: as their names say.
        """
        self._stop, self._steps = stop, 0
        for index in range(order.n):
            picture = self._picture(order, index, emit)
            emit(
                {
                    "type": "image.completed",
                    "index": index,
                    "b64_json": _encoded(picture),
                    "seed": order.seed + index,
                }
            )
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
        picture: Image.Image = result.images[0].convert("RGB")
        if picture.size != order.size:
            picture = picture.resize(order.size, Image.Resampling.LANCZOS)
        if order.mask is not None and order.image is not None:
            picture = Image.composite(picture, order.image, order.mask)
        return picture

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
                event = {"type": "image.partial", "index": self._index, "partial_image_index": self._shown}
                self._emit({**event, "b64_json": _encoded(picture)})
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
        picture: Image.Image = processor.postprocess(decoded, output_type="pil")[0].convert("RGB")
        picture = picture.resize(self._order.size)
        if self._order.mask is not None and self._order.image is not None:
            picture = Image.composite(picture, self._order.image, self._order.mask)
        return picture


def _encoded(picture: Image.Image) -> str:
    out = io.BytesIO()
    picture.save(out, "PNG")
    return base64.b64encode(out.getvalue()).decode("ascii")
