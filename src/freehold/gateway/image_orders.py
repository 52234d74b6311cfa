"""Requests for pictures against what a deployment paints, and what its engine is then asked."""

import secrets

from freehold.catalog.deployments import Deployment
from freehold.errors import InvalidRequest, UnsupportedParameter
from freehold.gateway.validation import cannot, require_features
from freehold.types.engine import Feature, Traits
from freehold.types.images import (
    MAX_SEED,
    ImageEditRequest,
    ImageGenerationRequest,
    ImageRequest,
    PaintRequest,
    PictureOperation,
    PromptedImageRequest,
    size_pixels,
)

OPERATIONS = {
    PictureOperation.GENERATION: Feature.IMAGES,
    PictureOperation.EDIT: Feature.IMAGE_EDITS,
    PictureOperation.VARIATION: Feature.IMAGE_VARIATIONS,
}
MAX_SIZE_PIXELS = 4096 * 4096
USUAL_QUALITIES = frozenset({None, "auto", "standard"})
"""What asks for nothing special: every model has a standard quality."""


def check_image(request: ImageRequest, deployment: Deployment, traits: Traits) -> frozenset[Feature]:
    """The features that the request needs.

    Raises:
        UnsupportedParameter, InvalidRequest: names the parameter.
    """
    needed = {"model": OPERATIONS[request.operation]}
    if request.seed is not None:
        needed["seed"] = Feature.SEED
    if isinstance(request, PromptedImageRequest):
        if request.quality not in USUAL_QUALITIES:
            needed["quality"] = Feature.IMAGE_QUALITY
        if request.background == "transparent":
            needed["background"] = Feature.IMAGE_BACKGROUND
    if isinstance(request, ImageGenerationRequest) and request.style is not None:
        needed["style"] = Feature.IMAGE_STYLE
    require_features(needed, traits, deployment)
    if isinstance(request, ImageEditRequest) and request.input_fidelity is not None:
        raise cannot("input_fidelity", deployment)
    _check_size(request, deployment, traits)
    _check_output(request)
    return frozenset(needed.values())


def order_of(request: ImageRequest, traits: Traits) -> PaintRequest:
    """What the engine is asked, but for the pictures that it works from; a seed is chosen where none was given."""
    size = request.size if request.size not in {None, "auto"} else None
    quality, style, background = (getattr(request, name, None) for name in ("quality", "style", "background"))
    extras = {
        name: value
        for name, value, feature in (
            ("quality", quality, Feature.IMAGE_QUALITY),
            ("style", style, Feature.IMAGE_STYLE),
            ("background", background, Feature.IMAGE_BACKGROUND),
        )
        if value not in {None, "auto"} and feature in traits.features
    }
    return PaintRequest(
        operation=request.operation,
        prompt=getattr(request, "prompt", ""),
        n=request.count,
        size=size or (traits.sizes[0] if traits.sizes else "auto"),
        seed=secrets.randbelow(MAX_SEED + 1) if request.seed is None else request.seed,
        seed_given=request.seed is not None,
        partial_images=getattr(request, "partial_images", None) or 0,
        extras=extras,
    )


def sizes_for(request: ImageRequest, traits: Traits) -> list[tuple[int, int]]:
    """The sizes that a picture to work from may be brought to; none where it may keep its own."""
    if request.size not in {None, "auto"}:
        assert request.size is not None, "just seen"
        return [size_pixels(request.size)]
    return [size_pixels(size) for size in traits.sizes]


def _check_size(request: ImageRequest, deployment: Deployment, traits: Traits) -> None:
    if request.size is None or request.size == "auto":
        return
    if traits.sizes and request.size not in traits.sizes:
        sizes = ", ".join(f"'{size}'" for size in traits.sizes)
        raise InvalidRequest(
            f"Invalid value: '{request.size}'. The model '{deployment.name}' paints the sizes 'auto', {sizes}.",
            param="size",
        )
    width, height = size_pixels(request.size)
    if width * height > MAX_SIZE_PIXELS:
        raise InvalidRequest(
            f"Invalid value: 'size' can have at most {MAX_SIZE_PIXELS} pixels, as 4096x4096 has.", param="size"
        )


def _check_output(request: ImageRequest) -> None:
    """Parameters that contradict each other."""
    if request.output_compression not in {None, 100} and request.format == "png":
        raise UnsupportedParameter(
            "Unsupported parameter: 'output_compression' is only for the output formats 'jpeg' and 'webp'.",
            param="output_compression",
        )
    if not isinstance(request, PromptedImageRequest):
        return
    if request.background == "transparent" and request.format == "jpeg":
        raise UnsupportedParameter(
            "Unsupported value: 'background' cannot be 'transparent' with the output format 'jpeg'.",
            param="background",
        )
    if request.stream and request.response_format == "url":
        raise UnsupportedParameter(
            "Unsupported value: 'response_format' cannot be 'url' in a stream, whose events hold the pictures.",
            param="response_format",
        )
    if request.partial_images and not request.stream:
        raise InvalidRequest("Invalid value: 'partial_images' is only for streams.", param="partial_images")
