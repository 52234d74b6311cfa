"""A pipeline as it is loaded: safetensors only, on its device, with its scheduler and adapters, and what it can do.

Which of the three operations there are follows from the pipeline's class:

| | made by |
|---|---|
| generations | the pipeline itself where it makes pictures of words, else its sibling for that |
| edits | the pipeline itself where it takes a mask, else its sibling for inpainting, else image-to-image |
| variations | the pipeline itself where it takes a picture and no words (unCLIP), else image-to-image without words |

Siblings share the components: nothing is loaded twice.
"""

import inspect
from collections.abc import Mapping
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import Any

import diffusers
import torch
import transformers
from diffusers.pipelines.auto_pipeline import (
    AUTO_IMAGE2IMAGE_PIPELINES_MAPPING,
    AUTO_TEXT2IMAGE_PIPELINES_MAPPING,
    AutoPipelineForImage2Image,
    AutoPipelineForInpainting,
    AutoPipelineForText2Image,
)

from freehold.catalog.formats import identify
from freehold.catalog.pipelines import PICKLED_SUFFIXES, PipelineIndex, read_index, was_exported
from freehold.catalog.sources import PIPELINE_INDEX
from freehold.engines.picture_orders import EDITS, GENERATIONS, VARIATIONS, Abilities, UnusableModel, shapes_of
from freehold.errors import UnsupportedModelFormat

_DTYPES = {"float32": torch.float32, "float16": torch.float16, "bfloat16": torch.bfloat16}
_DENOISERS = ("unet", "transformer", "prior", "decoder", "super_res_first", "super_res_last")
_MOVED = {"UnCLIPTextProjModel": "diffusers.pipelines.deprecated.unclip"}
"""Components that published pipelines name by a module in which diffusers no longer looks for them."""
_FALLBACK_SIZE = 512


@dataclass(frozen=True, slots=True)
class LoadedModel:
    """A pipeline, ready to paint.

    Args:
        pipelines: by operation.
        denoisers: the modules of which one run is a step.
        abilities: what they can do.
        options: the deployment's.
    """

    pipelines: Mapping[str, Any]
    denoisers: frozenset[Any]
    abilities: Abilities
    options: Mapping[str, Any]


def load(folder: Path, fingerprint: str, options: Mapping[str, Any]) -> LoadedModel:
    """Load a pipeline from its folder.

    Raises:
        UnusableModel: it is none, has pickles or code, makes no pictures, or does not take an option.
    """
    index = _checked(folder)
    if "threads" in options:
        torch.set_num_threads(options["threads"])
    diffusers.utils.logging.disable_progress_bar()
    transformers.utils.logging.disable_progress_bar()
    torch.use_deterministic_algorithms(mode=True, warn_only=True)
    device = _device(options.get("device", "auto"))
    how = {
        "dtype": _dtype(options.get("dtype", "auto"), device),
        "variant": _variant(folder),
        "use_safetensors": True,
        "local_files_only": True,
    }
    try:
        if _MOVED.keys() & set(index.components.values()):
            pipeline = _assembled(folder, index, how)
        else:
            pipeline = getattr(diffusers, index.class_name).from_pretrained(folder, **how, trust_remote_code=False)
    except (OSError, ValueError, TypeError, KeyError, RuntimeError, ImportError, AttributeError) as exc:
        raise UnusableModel(f"the pipeline cannot be loaded: {exc}") from exc
    _schedule(pipeline, options.get("scheduler"))
    _adapt(pipeline, options.get("lora", []))
    pipeline.to(device)
    pipeline.set_progress_bar_config(disable=True)
    pipelines = _operations(pipeline)
    if not pipelines:
        raise UnusableModel(f"{index.class_name} makes no pictures from words or pictures alone")
    sizes = tuple(options.get("sizes") or _sizes(pipeline))
    modules = (getattr(pipeline, name, None) for name in _DENOISERS)
    denoisers = frozenset(module for module in modules if isinstance(module, torch.nn.Module))
    return LoadedModel(pipelines, denoisers, Abilities(frozenset(pipelines), sizes, fingerprint), options)


def parameters(pipeline: Any) -> Mapping[str, inspect.Parameter]:
    """What a pipeline can be called with."""
    return inspect.signature(type(pipeline).__call__).parameters


def _checked(folder: Path) -> PipelineIndex:
    """What the pipeline consists of, after a look at every file; not all folders come from the catalog."""
    try:
        index = read_index(folder / PIPELINE_INDEX)
        if was_exported(folder):
            raise UnusableModel("the pipeline was exported to OpenVINO; serve it with the engine 'openvino_images'")
        for path in folder.rglob("*"):
            if path.suffix in {*PICKLED_SUFFIXES, ".py"}:
                raise UnusableModel(f"the file {path.name} is a pickle or code, which is never loaded")
            if path.suffix == ".safetensors":
                identify(path)
    except (UnsupportedModelFormat, OSError) as exc:
        raise UnusableModel(str(exc)) from exc
    kind = getattr(diffusers, index.class_name, None)
    if not (isinstance(kind, type) and issubclass(kind, diffusers.DiffusionPipeline)):
        raise UnusableModel(f"this version of diffusers has no pipeline {index.class_name}")
    return index


def _assembled(folder: Path, index: PipelineIndex, how: Mapping[str, Any]) -> Any:
    """A pipeline put together from its parts, for one whose index diffusers does not follow any more."""
    parts = {}
    for name, kind in index.components.items():
        module = import_module(_MOVED[kind]) if kind in _MOVED else diffusers
        part = getattr(module, kind, None) or getattr(transformers, kind)
        loads_weights = isinstance(part, type) and issubclass(part, torch.nn.Module)
        parts[name] = part.from_pretrained(folder / name, **(how if loads_weights else {"local_files_only": True}))
    return getattr(diffusers, index.class_name)(**parts)


def _device(name: str) -> str:
    if name != "auto":
        return name
    if torch.cuda.is_available():
        return "cuda"
    return "mps" if torch.backends.mps.is_available() else "cpu"


def _dtype(name: str, device: str) -> torch.dtype:
    """Half the width where the device is made for it; on a CPU that would only be slower."""
    if name != "auto":
        return _DTYPES[name]
    return torch.float32 if device == "cpu" else torch.float16 if device == "mps" else torch.bfloat16


def _variant(folder: Path) -> str | None:
    """The edition of the weights, where the catalog kept a smaller one."""
    names = [path.name for path in folder.rglob("*.safetensors")]
    return next((edition for edition in ("fp16", "bf16") if any(f".{edition}" in name for name in names)), None)


def _schedule(pipeline: Any, name: str | None) -> None:
    """Use another scheduler than the model's own, of those that fit it."""
    if name is None:
        return
    known = {kind.__name__: kind for kind in getattr(getattr(pipeline, "scheduler", None), "compatibles", [])}
    if name not in known:
        raise UnusableModel(f"options.scheduler: the model takes no {name}; it takes: {', '.join(sorted(known))}")
    pipeline.scheduler = known[name].from_config(pipeline.scheduler.config)


def _adapt(pipeline: Any, entries: list[Mapping[str, Any]]) -> None:
    """Put the adapters (LoRA) on."""
    names = []
    for index, entry in enumerate(entries):
        path = Path(entry["path"])
        try:
            if identify(path) != "safetensors":
                raise UnusableModel(f"options.lora: {path} is not safetensors")
            pipeline.load_lora_weights(
                str(path.parent), weight_name=path.name, adapter_name=f"lora{index}", use_safetensors=True
            )
        except (UnsupportedModelFormat, OSError, ValueError, KeyError, RuntimeError, AttributeError) as exc:
            raise UnusableModel(f"options.lora: {path} cannot be used: {exc}") from exc
        names.append(f"lora{index}")
    if names:
        pipeline.set_adapters(names, [float(entry.get("scale", 1.0)) for entry in entries])


def _operations(pipeline: Any) -> dict[str, Any]:
    """Operation → the pipeline that does it."""
    takes = parameters(pipeline)
    words, picture, mask = "prompt" in takes, "image" in takes, "mask_image" in takes
    from_words = words and (not picture or type(pipeline) in AUTO_TEXT2IMAGE_PIPELINES_MAPPING.values())
    flexible = _latents_alone(pipeline)
    from_picture = pipeline if picture and not mask else _sibling(pipeline, AutoPipelineForImage2Image, flexible)
    masked = pipeline if mask else _sibling(pipeline, AutoPipelineForInpainting, flexible)
    if masked is None and words and type(from_picture) in AUTO_IMAGE2IMAGE_PIPELINES_MAPPING.values():
        masked = from_picture
    found = {
        GENERATIONS: pipeline if from_words else _sibling(pipeline, AutoPipelineForText2Image, words and flexible),
        EDITS: masked,
        VARIATIONS: from_picture,
    }
    return {operation: made for operation, made in found.items() if made is not None}


def _latents_alone(pipeline: Any) -> bool:
    """Whether the denoiser reads nothing but the picture: one made for inpainting reads the mask as well."""
    unet, vae = getattr(pipeline, "unet", None), getattr(pipeline, "vae", None)
    if unet is None or vae is None:
        return True
    return bool(unet.config.in_channels == vae.config.latent_channels)


def _sibling(pipeline: Any, auto: Any, fitting: bool) -> Any:
    """The pipeline of the same family for another operation; None if there is none, or its parts do not fit."""
    if not fitting:
        return None
    try:
        sibling = auto.from_pipe(pipeline)
    except (ValueError, TypeError, AttributeError):
        return None
    sibling.set_progress_bar_config(disable=True)
    return sibling


def _sizes(pipeline: Any) -> list[str]:
    """The size that the model was trained for, and the same area in other shapes where it takes any."""
    side = _native_side(pipeline)
    if not {"height", "width"} <= parameters(pipeline).keys():
        return [f"{side}x{side}"]
    return list(shapes_of(side, 8))


def _native_side(pipeline: Any) -> int:
    """The side in pixels of the pictures that the model was trained on."""
    last = getattr(pipeline, "super_res_last", None)
    if last is not None:
        return int(last.config.sample_size)
    scale = getattr(pipeline, "vae_scale_factor", 8)
    for name in ("unet", "transformer"):
        config = getattr(getattr(pipeline, name, None), "config", {})
        sample = config.get("sample_size") if hasattr(config, "get") else None
        if isinstance(sample, int) and sample * scale >= 8:
            return sample * scale
    sample = getattr(pipeline, "default_sample_size", None)
    return sample * scale if isinstance(sample, int) else _FALLBACK_SIZE
