"""What a finished picture says of its origin, and what is found out about a file."""

import asyncio
import hashlib
import io
import json
from pathlib import Path
from typing import Any

import pytest
from c2pa import Reader
from PIL import Image
from PIL.PngImagePlugin import PngInfo

from freehold.provenance.marks import COMPOSITE, TRAINED
from freehold.types.images import OutputFormat, PictureOperation
from tests.provenance.installation import FORMATS, installation, noise, picture_facts, pixels, png

pytestmark = pytest.mark.slow


@pytest.mark.parametrize("format_name", FORMATS)
def test_a_finished_picture_says_who_made_it(tmp_path: Path, format_name: OutputFormat) -> None:
    """A picture of each format carries a manifest with generator, model, request and source type, and the IPTC mark."""

    async def scenario() -> tuple[bytes, dict[str, Any]]:
        async with installation(tmp_path) as here:
            data = await here.paint(format_name)
            return data, await here.read(data)

    data, report = asyncio.run(scenario())
    assert pixels(data).format is None
    assert report["format"] == format_name
    assert (report["state"], report["signature_valid"], report["unchanged"]) == ("intact", True, True)
    assert report["iptc_digital_source_type"] == TRAINED
    assert report["problems"] == []
    origin = report["origin"]
    assert origin["generator"].startswith("Freehold 0")
    assert origin["signed_by"]["expected"] is True
    assert origin["signed_by"]["name"].startswith("Freehold installation ")
    (made,) = origin["actions"]
    assert (made["action"], made["digital_source_type"]) == ("c2pa.created", TRAINED)
    assert (made["agent"], made["agent_version"]) == ("starter-painter", "ab" * 32)
    assert made["when"] == "2025-11-24T16:00:00Z"
    assert origin["picture"]["request_id"] == "req_lighthouse"
    assert origin["picture"]["seed"] == 7
    assert origin["made_from"] == []


def test_an_unfinished_state_says_that_it_is_one(tmp_path: Path) -> None:
    """The manifest of an unfinished state says so in its title, its action and Freehold's facts; an edit's as well."""

    async def scenario() -> list[tuple[bytes, dict[str, Any]]]:
        async with installation(tmp_path) as here:
            parent = await here.paint()
            made = [
                await here.paint(unfinished=2, seed=None),
                await here.paint(unfinished=0, operation=PictureOperation.EDIT, parents=(parent,)),
            ]
            return [(data, await here.read(data)) for data in made]

    for (data, report), number in zip(asyncio.run(scenario()), (2, 0), strict=True):
        assert (report["state"], report["convincing"]) == ("intact", True)
        assert report["origin"]["picture"]["unfinished"] == number
        with Reader("image/png", io.BytesIO(data)) as reader:
            manifest = json.loads(reader.json())
        active = manifest["manifests"][manifest["active_manifest"]]
        assert active["title"] == "Unfinished picture of req_lighthouse"
        (actions,) = (each["data"]["actions"] for each in active["assertions"] if each["label"] == "c2pa.actions.v2")
        assert actions[-1]["description"] == f"Unfinished work: state {number} on the way to a picture"


def test_a_png_keeps_every_pixel(tmp_path: Path) -> None:
    """The pixels of a PNG are those that the engine made."""
    painted = noise()

    async def scenario() -> bytes:
        async with installation(tmp_path) as here:
            return await here.finisher.finish(painted, format="png", compression=None, facts=picture_facts())

    assert pixels(asyncio.run(scenario())).tobytes() == pixels(painted).tobytes()


def test_transparency_stays_where_the_format_has_it(tmp_path: Path) -> None:
    """PNG and WebP keep what is transparent; in JPEG it becomes white."""
    painted = png(Image.new("RGBA", (32, 32), (255, 0, 0, 0)))

    async def scenario() -> list[Image.Image]:
        async with installation(tmp_path) as here:
            return [
                pixels(await here.finisher.finish(painted, format=name, compression=None, facts=picture_facts()))
                for name in FORMATS
            ]

    as_png, as_jpeg, as_webp = asyncio.run(scenario())
    assert as_png.getpixel((5, 5)) == (255, 0, 0, 0)
    assert as_jpeg.getpixel((5, 5)) == (255, 255, 255)
    assert as_webp.mode == "RGBA"


@pytest.mark.parametrize("format_name", ["jpeg", "webp"])
def test_compression_is_the_quality(tmp_path: Path, format_name: OutputFormat) -> None:
    """A lower number makes a smaller file."""
    painted = noise(256)

    async def scenario() -> list[int]:
        async with installation(tmp_path) as here:
            return [
                len(await here.finisher.finish(painted, format=format_name, compression=c, facts=picture_facts()))
                for c in (10, 50, 100)
            ]

    low, middle, high = asyncio.run(scenario())
    assert low < middle < high


def _exclusion(data: bytes, format_name: OutputFormat) -> range:
    """The bytes of the file that hold the manifest itself."""
    with Reader(f"image/{format_name}", io.BytesIO(data)) as reader:
        found = json.loads(reader.detailed_json())
    (manifest,) = found["manifests"].values()
    (excluded,) = manifest["assertion_store"]["c2pa.hash.data"]["exclusions"]
    return range(excluded["start"], excluded["start"] + excluded["length"])


@pytest.mark.parametrize("format_name", FORMATS)
def test_one_changed_byte_of_the_picture_is_found(tmp_path: Path, format_name: OutputFormat) -> None:
    """A file with any one byte outside its manifest changed is not taken for what was signed."""

    async def scenario() -> list[tuple[int, str]]:
        async with installation(tmp_path) as here:
            data = await here.paint(format_name, size=16)
            manifest = _exclusion(data, format_name)
            outside = [place for place in range(len(data)) if place not in manifest]
            taken = []
            for place in outside[:: max(1, len(outside) // 150)]:
                changed = bytearray(data)
                changed[place] ^= 1
                if place < {"png": 8, "jpeg": 3, "webp": 12}[format_name]:
                    continue  # then it is no such file any more, and told as that
                report = await here.read(bytes(changed))
                if report["state"] == "intact":
                    taken.append((place, report["state"]))
            return taken

    assert asyncio.run(scenario()) == []


@pytest.mark.parametrize("claimed", [b"req_lighthouse", b"starter-painter", b"trainedAlgorithmicMedia"])
def test_a_changed_claim_is_found(tmp_path: Path, claimed: bytes) -> None:
    """A manifest in which one byte of what it claims was changed does not hold."""

    async def scenario() -> dict[str, Any]:
        async with installation(tmp_path) as here:
            data = bytearray(await here.paint("png"))
            place = data.index(claimed, _exclusion(bytes(data), "png").start)
            data[place + 3] ^= 2
            return await here.read(bytes(data))

    report = asyncio.run(scenario())
    assert report["state"] == "changed"
    assert report["problems"]


@pytest.mark.parametrize("format_name", FORMATS)
def test_a_stripped_picture_has_no_manifest(tmp_path: Path, format_name: OutputFormat) -> None:
    """A picture that was saved again by another program is told as having no manifest and no mark."""

    async def scenario() -> dict[str, Any]:
        async with installation(tmp_path) as here:
            picture = pixels(await here.paint(format_name))
            picture.info.clear()
            out = io.BytesIO()
            picture.save(out, format_name.upper())
            return await here.read(out.getvalue())

    report = asyncio.run(scenario())
    assert report["state"] == "none"
    assert report["origin"] is None
    assert report["iptc_digital_source_type"] is None


def test_a_cut_manifest_is_told_as_damaged(tmp_path: Path) -> None:
    """A manifest that cannot be read any more is told as damaged, not as missing."""

    async def scenario() -> dict[str, Any]:
        async with installation(tmp_path) as here:
            data = await here.paint("png")
            return await here.read(data.replace(b"c2pa.claim.v2", b"c2pa.clxim.v2").replace(b"c2cl", b"c2xl"))

    assert asyncio.run(scenario())["state"] == "damaged"


def test_another_installations_picture_is_told_as_anothers(tmp_path: Path) -> None:
    """A picture of a second installation is intact, but not signed by the first; nothing expected, nothing told."""

    async def scenario() -> list[dict[str, Any]]:
        async with installation(tmp_path / "a") as first, installation(tmp_path / "b") as second:
            await first.paint()
            data = await second.paint()
            return [await first.read(data), await second.read(data), await first.read(data, "")]

    by_first, by_second, by_nobody = asyncio.run(scenario())
    assert [report["state"] for report in (by_first, by_second, by_nobody)] == ["intact"] * 3
    assert by_first["origin"]["signed_by"]["expected"] is False
    assert by_second["origin"]["signed_by"]["expected"] is True
    assert by_nobody["origin"]["signed_by"]["expected"] is None


def test_an_edit_tells_what_it_was_made_from(tmp_path: Path) -> None:
    """The history of an edited edit leads back to the first picture, each step with its own manifest."""

    async def scenario() -> tuple[list[bytes], dict[str, Any]]:
        async with installation(tmp_path) as here:
            first = await here.paint("webp")
            second = await here.paint(
                "jpeg", operation=PictureOperation.EDIT, request_id="req_second", parents=(first,)
            )
            third = await here.paint("png", operation=PictureOperation.EDIT, request_id="req_third", parents=(second,))
            return [first, second], await here.read(third)

    (first, second), report = asyncio.run(scenario())
    assert report["state"] == "intact"
    assert report["iptc_digital_source_type"] == COMPOSITE
    origin = report["origin"]
    assert [action["action"] for action in origin["actions"]] == ["c2pa.opened", "c2pa.edited"]
    assert origin["actions"][1]["digital_source_type"] == COMPOSITE
    assert origin["picture"]["parents"] == [{"sha256": hashlib.sha256(second).hexdigest(), "history": "kept"}]
    (before,) = origin["made_from"]
    assert (before["relationship"], before["format"], before["holds"]) == ("parentOf", "image/jpeg", True)
    assert before["origin"]["picture"]["request_id"] == "req_second"
    assert before["origin"]["signed_by"]["expected"] is True
    (beginning,) = before["origin"]["made_from"]
    assert beginning["origin"]["picture"]["request_id"] == "req_lighthouse"
    assert before["origin"]["picture"]["parents"][0]["sha256"] == hashlib.sha256(first).hexdigest()


def test_a_variation_is_made_anew(tmp_path: Path) -> None:
    """A variation names its parent, and is wholly made by the model; further pictures of a request were input."""

    async def scenario() -> dict[str, Any]:
        async with installation(tmp_path) as here:
            first = await here.paint("webp")
            return await here.read(
                await here.paint("png", operation=PictureOperation.VARIATION, parents=(first, noise()))
            )

    report = asyncio.run(scenario())
    assert report["iptc_digital_source_type"] == TRAINED
    assert report["origin"]["actions"][1]["digital_source_type"] == TRAINED
    relations = {entry["relationship"]: entry for entry in report["origin"]["made_from"]}
    assert relations.keys() == {"parentOf", "inputTo"}
    assert relations["parentOf"]["origin"]["picture"]["request_id"] == "req_lighthouse"
    assert relations["inputTo"]["origin"] is None


def test_a_changed_parent_leaves_no_history(tmp_path: Path) -> None:
    """The manifest of a parent that does not hold is left out, and the edit says so."""

    async def scenario() -> dict[str, Any]:
        async with installation(tmp_path) as here:
            parent = bytearray(await here.paint("png"))
            parent[-30] ^= 1
            return await here.read(await here.paint(operation=PictureOperation.EDIT, parents=(bytes(parent),)))

    report = asyncio.run(scenario())
    assert report["state"] == "intact"
    assert report["origin"]["picture"]["parents"][0]["history"] == "left_out"
    assert report["origin"]["made_from"][0]["origin"] is None


def test_metadata_of_the_engines_picture_stays_behind(tmp_path: Path) -> None:
    """Text, comments and profiles in the engine's PNG do not come into the file."""
    info = PngInfo()
    info.add_text("Comment", "a-secret-prompt")
    info.add_itxt("XML:com.adobe.xmp", "<a-secret-packet/>")
    painted = png(Image.new("RGB", (16, 16)), pnginfo=info, icc_profile=b"a-secret-profile")

    async def scenario() -> list[bytes]:
        async with installation(tmp_path) as here:
            return [
                await here.finisher.finish(painted, format=name, compression=None, facts=picture_facts())
                for name in FORMATS
            ]

    assert b"a-secret" in painted
    for data in asyncio.run(scenario()):
        assert b"a-secret" not in data
        assert "icc_profile" not in pixels(data).info
