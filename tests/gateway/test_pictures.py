"""Pictures on their way through the gateway: their order, their files, and what whoever makes those is told."""

import asyncio
from collections.abc import AsyncGenerator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from freehold.catalog.deployments import Deployment
from freehold.errors import InvalidRequest, UnsupportedParameter
from freehold.gateway.account import Account, Admission
from freehold.gateway.image_orders import check_image, order_of, sizes_for
from freehold.gateway.ledger import Ledger
from freehold.gateway.picture_studio import Studio
from freehold.gateway.pictures import NO_UPLOADS, Pictures, Uploads, in_order
from freehold.governance.digests import Digests
from freehold.governance.limits import UNLIMITED
from freehold.provenance.marks import TRAINED
from freehold.types.deployment import DeploymentSettings, Origin
from freehold.types.engine import Feature, Traits, features_for
from freehold.types.generation import Usage
from freehold.types.images import (
    HeldUpload,
    ImageEditRequest,
    ImageGenerationRequest,
    ImageVariationRequest,
    OutputFormat,
    PaintEvent,
    PartialPicture,
    Picture,
    PictureFacts,
    PictureOperation,
)
from freehold.types.limits import Claim
from freehold.types.price import FREE
from tests.gateway.pictures import file, photo
from tests.provenance.installation import installation

DEPLOYMENT = Deployment(DeploymentSettings(name="p", model="m", engine="echo", task="images"), Origin.CONFIG, 0)
TRAITS = Traits(features_for("images"), sizes=("512x512", "256x256"))
PNG = file(photo(8, 8))


def generation(**parameters: Any) -> ImageGenerationRequest:
    """A generation."""
    return ImageGenerationRequest.model_validate({"model": "p", "prompt": "x", **parameters})


async def stream(*events: PaintEvent) -> AsyncGenerator[PaintEvent]:
    """Events as an engine gives them."""
    for event in events:
        yield event


def account() -> Account:
    """The account of an admitted request."""
    found = Account("req_1", "/v1/images/edits", "openai", Digests(b"pepper"))
    found.prompt(b"what was asked")
    grant = Ledger(lambda _: UNLIMITED).reserve(Claim((), 0, 0, 1.0))
    found.admission = Admission(DEPLOYMENT, grant, FREE, 0)
    return found


class Remembering:
    """A finisher that keeps what it was told, and writes its number into the file."""

    def __init__(self) -> None:
        self.told: list[tuple[OutputFormat, int, PictureFacts]] = []

    async def finish(self, png: bytes, *, format: OutputFormat, compression: int, facts: PictureFacts) -> bytes:  # noqa: A002
        """See `Finisher.finish`."""
        self.told.append((format, compression, facts))
        return png + b"%d" % len(self.told)


def test_a_finisher_is_told_where_a_picture_comes_from() -> None:
    """A finished picture and an unfinished state go through the finisher with their facts, and its files are sent."""
    request = ImageEditRequest.model_validate(
        {"model": "p", "prompt": "x", "output_format": "jpeg", "output_compression": 70}
    )
    finisher, upload = Remembering(), HeldUpload(b"as it was uploaded")

    async def main() -> list[PaintEvent]:
        studio = Studio()
        try:
            pictures = Pictures(studio, finisher)
            engine = stream(PartialPicture(0, 0, PNG), Picture(0, PNG, 7), Picture(1, PNG, 8), Usage(3))
            return [event async for event in pictures.finished(engine, request, Uploads(upload), mine)]
        finally:
            await studio.close()

    mine = account()
    partial, first, second, usage = asyncio.run(main())
    assert isinstance(partial, PartialPicture)
    assert isinstance(first, Picture)
    assert isinstance(second, Picture)
    assert (partial.data, first.data, second.data, usage) == (PNG + b"1", PNG + b"2", PNG + b"3", Usage(3))
    output, compression, facts = finisher.told[1]
    assert (output, compression) == ("jpeg", 70)
    assert facts == PictureFacts(
        request_id="req_1",
        operation=PictureOperation.EDIT,
        deployment="p",
        model="m",
        weights_sha256="",
        prompt_digest=mine.prompt_digest,
        seed=7,
        created=facts.created,
        parents=(b"as it was uploaded",),
    )
    assert [told[2].seed for told in finisher.told] == [None, 7, 8]
    assert finisher.told[0] == (output, compression, replace(facts, seed=None, unfinished=0))
    assert len(mine.prompt_digest) == 64


@pytest.mark.slow
@pytest.mark.parametrize("output", ["png", "jpeg", "webp"])
def test_nothing_leaves_unmarked(tmp_path: Path, output: OutputFormat) -> None:
    """Pictures and their unfinished states come with a manifest that tells which is which, and with the IPTC mark."""
    request = generation(output_format=output, output_compression=None if output == "png" else 80)

    async def main() -> list[dict[str, Any]]:
        studio = Studio()
        async with installation(tmp_path) as here:
            engine = stream(PartialPicture(0, 0, PNG), PartialPicture(0, 1, PNG), Picture(0, PNG, 7), Usage(3))
            events = Pictures(studio, here.finisher).finished(engine, request, NO_UPLOADS, account())
            return [await here.read(event.data) async for event in events if not isinstance(event, Usage)]

    reports = asyncio.run(main())
    assert [report["origin"]["picture"].get("unfinished") for report in reports] == [0, 1, None]
    for report in reports:
        assert (report["format"], report["state"], report["convincing"]) == (output, "intact", True)
        assert report["iptc_digital_source_type"] == TRAINED
        assert report["origin"]["picture"]["request_id"] == "req_1"
    titles = [report["origin"]["title"] for report in reports]
    assert titles == ["Unfinished picture of req_1"] * 2 + ["Picture of req_1"]


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        (["1c", "0c"], ["0c", "1c"]),
        (["0a", "1a", "0b", "1b", "1c", "0c"], ["0a", "0b", "0c", "1a", "1b", "1c"]),
        (["2c", "1a", "0a", "1c", "0c"], ["0a", "0c", "1a", "1c", "2c"]),
    ],
)
def test_pictures_come_one_after_the_other(given: list[str], expected: list[str]) -> None:
    """However an engine interleaves them, a picture's events come together and in the order of the pictures."""

    def event(name: str) -> PaintEvent:
        index, kind = int(name[0]), name[1]
        return Picture(index, b"") if kind == "c" else PartialPicture(index, "ab".index(kind), b"")

    def name(found: PaintEvent) -> str:
        assert not isinstance(found, Usage)
        return f"{found.index}{'c' if isinstance(found, Picture) else 'ab'[found.partial_index]}"

    async def main() -> list[PaintEvent]:
        return [found async for found in in_order(stream(*map(event, given), Usage(1)))]

    *found, last = asyncio.run(main())
    assert [name(each) for each in found] == expected
    assert last == Usage(1)


def test_nothing_is_made_of_no_upload() -> None:
    """A generation works from nothing, and an edit without a picture is refused before any process is started."""

    async def main() -> None:
        pictures = Pictures(Studio(), Remembering())
        assert await pictures.sources(PictureOperation.GENERATION, NO_UPLOADS, []) is None
        for operation in (PictureOperation.EDIT, PictureOperation.VARIATION):
            with pytest.raises(InvalidRequest) as caught:
                await pictures.sources(operation, NO_UPLOADS, [])
            assert (caught.value.param, caught.value.code) == ("image", "missing_required_parameter")

    asyncio.run(main())


def test_an_order_has_what_the_engine_can_do() -> None:
    """Extras go to engines that have the feature, a size and a seed are chosen where none is given."""
    order = order_of(generation(quality="high", style="vivid", background="auto"), TRAITS)
    assert order.extras == {"quality": "high", "style": "vivid"}
    assert (order.size, order.n, order.seed_given) == ("512x512", 1, False)
    bare = Traits(frozenset({Feature.IMAGES}))
    order = order_of(generation(quality="standard", background="opaque", seed=5, n=2, size="256x256"), bare)
    assert (order.extras, order.size, order.seed, order.n, order.seed_given) == ({}, "256x256", 5, 2, True)
    assert order_of(generation(), bare).size == "auto"
    seeds = {order_of(generation(), TRAITS).seed for _ in range(20)}
    assert len(seeds) > 1


def test_sizes_to_work_from() -> None:
    """An upload is brought to the size asked for, else to one of the engine's, else it keeps its own."""
    vary = ImageVariationRequest.model_validate
    assert sizes_for(vary({"model": "p", "size": "256x256"}), TRAITS) == [(256, 256)]
    assert sizes_for(vary({"model": "p", "size": "auto"}), TRAITS) == [(512, 512), (256, 256)]
    assert sizes_for(vary({"model": "p"}), Traits(frozenset())) == []


@pytest.mark.parametrize(
    ("parameters", "needs"),
    [
        ({}, {Feature.IMAGES}),
        ({"quality": "auto", "background": "opaque", "moderation": "low"}, {Feature.IMAGES}),
        ({"quality": "low", "seed": 1}, {Feature.IMAGES, Feature.IMAGE_QUALITY, Feature.SEED}),
        (
            {"background": "transparent", "style": "natural"},
            {Feature.IMAGES, Feature.IMAGE_BACKGROUND, Feature.IMAGE_STYLE},
        ),
    ],
)
def test_a_request_needs_what_it_asks_for(parameters: dict[str, Any], needs: set[Feature]) -> None:
    """The features that a request needs are those of what it asks for, and without one of them it is refused."""
    request = generation(**parameters)
    assert check_image(request, DEPLOYMENT, TRAITS) == needs
    for missing in needs:
        with pytest.raises(UnsupportedParameter):
            check_image(request, DEPLOYMENT, Traits(TRAITS.features - {missing}))


def test_a_size_that_nobody_paints_is_refused() -> None:
    """Where an engine names no sizes, one beyond all bounds is refused all the same."""
    with pytest.raises(InvalidRequest) as caught:
        check_image(generation(size="99999x99999"), DEPLOYMENT, Traits(TRAITS.features))
    assert caught.value.param == "size"
