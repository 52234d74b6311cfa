"""An exported pipeline as it is loaded: which operations it has, its sizes, its scheduler and its adapters.

    model_index.json                                  the pipeline's class and components
    scheduler/scheduler_config.json
    tokenizer/openvino_tokenizer.xml, .bin, …         and tokenizer_2, …
    text_encoder/openvino_model.xml, .bin, config.json   and text_encoder_2, …
    unet/… or transformer/…                           the denoiser
    vae_decoder/…, vae_encoder/…                      without the encoder no picture can be read

Generations are made by the library's pipeline for text, edits by the one for inpainting, else by image-to-image with
the mask put over it, variations by image-to-image without words. A folder has those that its class and its networks
allow; they share the networks, so that nothing is loaded twice.
"""

import json
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from freehold.catalog.pipelines import NETWORK, PipelineIndex, read_index
from freehold.catalog.sources import PIPELINE_INDEX
from freehold.engines.openvino_genai import openvino_genai
from freehold.engines.openvino_images_lora import adapters_of
from freehold.engines.picture_orders import EDITS, GENERATIONS, VARIATIONS, Abilities, UnusableModel, shapes_of
from freehold.errors import UnsupportedModelFormat

TOKENIZER = "openvino_tokenizer.xml"
PRECISIONS = {"float32": "f32", "bfloat16": "bf16", "float16": "f16"}
DEVICE = "CPU"

_FLOW = "FlowMatchEulerDiscreteScheduler"
_SCHEDULERS = {
    "DDIMScheduler": "DDIM",
    "EulerAncestralDiscreteScheduler": "EULER_ANCESTRAL_DISCRETE",
    "EulerDiscreteScheduler": "EULER_DISCRETE",
    _FLOW: "FLOW_MATCH_EULER_DISCRETE",
    "LCMScheduler": "LCM",
    "PNDMScheduler": "PNDM",
}
_DENOISERS = ("unet", "transformer")
_LEVELS = [0, 0, 0, 0]
"""Of a network whose configuration does not tell its levels: four, each half as wide and high as the one before."""
_PATCH = 2
"""A transformer reads its latent in squares with this side."""
_FALLBACK_SIDE = 512


@dataclass(frozen=True, slots=True)
class LoadedModel:
    """A pipeline, ready to paint.

    Args:
        folder: where it lies.
        index: what it consists of.
        pipelines: by operation.
        masked: whether edits are made by a pipeline that takes the mask.
        tokenizer: counts the prompt's tokens.
        adapters: what each call is given as `adapters`; None for none.
        properties: what networks are compiled with.
        abilities: what it can do.
        options: the deployment's.
    """

    folder: Path
    index: PipelineIndex
    pipelines: Mapping[str, Any]
    masked: bool
    tokenizer: Any
    adapters: Any
    properties: Mapping[str, Any]
    abilities: Abilities
    options: Mapping[str, Any]


def load(folder: Path, fingerprint: str, options: Mapping[str, Any]) -> LoadedModel:
    """Load a pipeline from its folder.

    Raises:
        UnusableModel: it was not exported, the library does not know its class, or it does not take an option.
    """
    index = _checked(folder)
    _check_negative(index, folder, options)
    multiple = _multiple(folder)
    for size in options.get("sizes", []):
        if any(int(side) % multiple for side in size.split("x")):
            raise UnusableModel(f"options.sizes: {size} cannot be painted; sides must be multiples of {multiple}")
    adapters = adapters_of(options.get("lora", []), folder)
    properties = _properties(options)
    with_adapters = properties if adapters is None else {**properties, "adapters": adapters}
    base = _first(folder, with_adapters)
    pipelines = _operations(base)
    _schedule(pipelines.values(), folder, options.get("scheduler"))
    side = base.get_generation_config().height
    sizes = tuple(options.get("sizes") or shapes_of(side if side > 0 else _FALLBACK_SIDE, multiple))
    abilities = Abilities(frozenset(pipelines), sizes, fingerprint)
    masked = isinstance(base, openvino_genai.InpaintingPipeline)
    tokenizer = openvino_genai.Tokenizer(str(folder / "tokenizer"))
    return LoadedModel(folder, index, pipelines, masked, tokenizer, adapters, properties, abilities, options)


def config_of(folder: Path) -> Mapping[str, Any]:
    """A network's configuration; empty where there is none.

    Raises:
        UnusableModel: it cannot be read.
    """
    path = folder / "config.json"
    if not path.is_file():
        return {}
    try:
        config = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as exc:
        raise UnusableModel(f"{folder.name}/config.json is damaged") from exc
    return config if isinstance(config, dict) else {}


def vae_factor(folder: Path) -> int:
    """How many times the side of its latent a picture has.

    Raises:
        UnusableModel: the decoder's configuration cannot be read.
    """
    return _reduction(folder / "vae_decoder")


def _checked(folder: Path) -> PipelineIndex:
    """What the pipeline consists of, if it was exported."""
    try:
        index = read_index(folder / PIPELINE_INDEX)
    except UnsupportedModelFormat as exc:
        raise UnusableModel(str(exc)) from exc
    if not any((folder / name / NETWORK).is_file() for name in _DENOISERS):
        raise UnusableModel(
            "the folder has no networks in OpenVINO's format; export the model with 'optimum-cli export openvino', or "
            "serve it as it is with the engine 'diffusers'"
        )
    for graph in sorted(folder.glob("*/openvino_*.xml")):
        if not graph.with_suffix(".bin").is_file():
            raise UnusableModel(f"{graph.parent.name}/{graph.stem}.bin is missing, the weights of {graph.name}")
    for place in sorted(folder.glob("tokenizer*")):
        if not (place / TOKENIZER).is_file():
            raise UnusableModel(f"{place.name}/{TOKENIZER} is missing; export with openvino-tokenizers installed")
    return index


def _check_negative(index: PipelineIndex, folder: Path, options: Mapping[str, Any]) -> None:
    """Refuse a negative prompt where the library's pipeline takes none."""
    consistency = config_of(folder / "unet").get("time_cond_proj_dim") is not None
    if options.get("negative_prompt") and (consistency or not index.class_name.startswith("StableDiffusion")):
        raise UnusableModel(f"options.negative_prompt: {index.class_name} takes none here")


def _multiple(folder: Path) -> int:
    """What the sides of a picture must be multiples of: an export has its networks' way from level to level fixed."""
    if not (folder / "unet").is_dir():
        return vae_factor(folder) * _PATCH
    return vae_factor(folder) * _reduction(folder / "unet")


def _reduction(folder: Path) -> int:
    """How many times the side of a network's narrowest level its widest has."""
    levels: list[int] = config_of(folder).get("block_out_channels") or _LEVELS
    return int(2 ** (len(levels) - 1))


def _properties(options: Mapping[str, Any]) -> dict[str, Any]:
    """What OpenVINO is told about how to compute."""
    found: dict[str, Any] = {}
    if "threads" in options:
        found["INFERENCE_NUM_THREADS"] = options["threads"]
    if options.get("dtype", "auto") != "auto":
        found["INFERENCE_PRECISION_HINT"] = PRECISIONS[options["dtype"]]
    return found


def _first(folder: Path, properties: Mapping[str, Any]) -> Any:
    """The pipeline from which the others are made: the one that can do most, of those that the class has.

    The library refuses by a plain RuntimeError both a class that it does not know for an operation and a folder that is
    damaged; only its words tell them apart.
    """
    kinds: list[Callable[..., Any]] = [openvino_genai.Text2ImagePipeline]
    if (folder / "vae_encoder" / NETWORK).is_file():
        kinds = [openvino_genai.InpaintingPipeline, openvino_genai.Image2ImagePipeline, *kinds]
    reason = ""
    for kind in kinds:
        try:
            return kind(str(folder), DEVICE, **properties)
        except RuntimeError as exc:
            reason = str(exc)
            if "Unsupported" not in reason:
                break
    raise UnusableModel(f"the pipeline cannot be loaded: {reason}")


def _operations(base: Any) -> dict[str, Any]:
    """Operation → the pipeline that does it."""
    if isinstance(base, openvino_genai.Text2ImagePipeline):
        return {GENERATIONS: base}
    from_words = _made(openvino_genai.Text2ImagePipeline, base)
    from_picture = base
    if isinstance(base, openvino_genai.InpaintingPipeline):
        from_picture = _made(openvino_genai.Image2ImagePipeline, base)
    found = {GENERATIONS: from_words, EDITS: base, VARIATIONS: from_picture}
    return {operation: made for operation, made in found.items() if made is not None}


def _made(kind: Callable[[Any], Any], base: Any) -> Any:
    """A pipeline of the same networks for another operation; None where they do not allow it."""
    try:
        return kind(base)
    except RuntimeError:
        return None


def _schedule(pipelines: Iterable[Any], folder: Path, name: str | None) -> None:
    """Give each pipeline a scheduler: the model's own, or another one of those that fit it.

    Each needs one, also where it is the model's own: a pipeline of FLUX that was made from another comes without.
    """
    path = folder / "scheduler" / "scheduler_config.json"
    try:
        flow = json.loads(path.read_text(encoding="utf-8")).get("_class_name") == _FLOW
        fitting = [other for other in _SCHEDULERS if (other == _FLOW) is flow]
        if name not in {None, *fitting}:
            raise UnusableModel(f"options.scheduler: the model takes no {name}; it takes: {', '.join(fitting)}")
        kind = getattr(openvino_genai.Scheduler.Type, "AUTO" if name is None else _SCHEDULERS[name])
        for pipeline in pipelines:
            pipeline.set_scheduler(openvino_genai.Scheduler.from_config(str(path), kind))
    except (OSError, RuntimeError, ValueError, AttributeError) as exc:
        if isinstance(exc, UnusableModel):
            raise
        raise UnusableModel(f"the scheduler {name or 'of the model'} cannot be used: {exc}") from exc
