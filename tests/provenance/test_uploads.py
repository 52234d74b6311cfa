"""What of an uploaded picture comes into those that are made from it, and what does not."""

import asyncio
import io
import json
from pathlib import Path
from typing import Any

import pytest
from c2pa import Builder, C2paSignerInfo, Signer
from PIL import Image

from freehold.config import ProvenanceSettings
from freehold.errors import InvalidRequest
from freehold.provenance.certificate import Credentials, load_credentials
from freehold.store.home import Home
from freehold.types.images import OutputFormat, PictureOperation
from tests.provenance.installation import FORMATS, installation, noise

pytestmark = pytest.mark.slow


def photo(format_name: OutputFormat) -> bytes:
    """A photograph with a position, a camera, a comment and an XMP packet."""
    picture = Image.effect_noise((32, 32), 60).convert("RGB")
    exif = Image.Exif()
    exif[0x010F] = "secret-camera"
    exif.get_ifd(0x8825).update({1: "N", 2: (47.0, 22.0, 33.5), 3: "E", 4: (8.0, 32.0, 9.5), 27: b"secret-position"})
    packet = b'<x:xmpmeta xmlns:x="adobe:ns:meta/" xmpMM:InstanceID="secret-instance" dc:creator="secret-person"/>'
    out = io.BytesIO()
    picture.save(out, format_name.upper(), exif=exif, xmp=packet, comment=b"secret-comment")
    return out.getvalue()


@pytest.mark.parametrize("operation", [PictureOperation.EDIT, PictureOperation.VARIATION])
@pytest.mark.parametrize("format_name", FORMATS)
def test_an_uploads_metadata_is_not_carried_over(
    tmp_path: Path, format_name: OutputFormat, operation: PictureOperation
) -> None:
    """Position, camera, comment and packet of an upload are in no file that is made from it."""
    upload = photo(format_name)
    assert b"secret-camera" in upload

    async def scenario() -> list[tuple[bytes, dict[str, Any]]]:
        async with installation(tmp_path) as here:
            made = [await here.paint(name, operation=operation, parents=(upload,)) for name in FORMATS]
            return [(data, await here.read(data)) for data in made]

    for data, report in asyncio.run(scenario()):
        assert b"secret" not in data
        assert not Image.open(io.BytesIO(data)).getexif()
        assert report["state"] == "intact"
        assert report["origin"]["picture"]["parents"][0]["history"] == "none"
        assert [entry["relationship"] for entry in report["origin"]["made_from"]] == ["parentOf"]


def _signed_elsewhere(folder: Path, assertions: list[dict[str, Any]]) -> bytes:
    """A JPEG that another program has signed."""
    home = Home(folder)
    with home.locked():
        credentials: Credentials = load_credentials(home, ProvenanceSettings())
    created = {"label": "c2pa.actions.v2", "data": {"actions": [{"action": "c2pa.created"}]}}
    created["data"]["actions"][0]["digitalSourceType"] = (  # type: ignore[index]
        "http://cv.iptc.org/newscodes/digitalsourcetype/digitalCapture"
    )
    manifest = {"claim_generator_info": [{"name": "Camera"}], "assertions": [created, *assertions]}
    picture, out = io.BytesIO(), io.BytesIO()
    Image.effect_noise((32, 32), 60).convert("RGB").save(picture, "JPEG")
    picture.seek(0)
    info = C2paSignerInfo("es256", credentials.chain.encode(), credentials.private_key.encode(), None)
    Builder.from_json(json.dumps(manifest)).sign(Signer.from_info(info), "image/jpeg", picture, out)
    return out.getvalue()


def test_a_history_with_more_than_history_is_left_out(tmp_path: Path) -> None:
    """A camera's manifest with the place in it is not carried along, and the picture says that there was one."""
    exif = {"@context": {"exif": "http://ns.adobe.com/exif/1.0/"}, "exif:GPSLatitude": "secret-position"}
    upload = _signed_elsewhere(tmp_path / "camera", [{"label": "stds.exif", "data": exif, "kind": "Json"}])
    assert b"secret-position" in upload

    async def scenario() -> tuple[bytes, dict[str, Any]]:
        async with installation(tmp_path / "here") as here:
            data = await here.paint("jpeg", operation=PictureOperation.EDIT, parents=(upload,))
            return data, await here.read(data)

    data, report = asyncio.run(scenario())
    assert b"secret-position" not in data
    assert report["origin"]["picture"]["parents"][0]["history"] == "left_out"


def test_anothers_history_is_kept(tmp_path: Path) -> None:
    """The manifest of another installation is carried along, as another's."""

    async def scenario() -> dict[str, Any]:
        async with installation(tmp_path / "a") as first, installation(tmp_path / "b") as second:
            upload = await second.paint("webp", request_id="req_elsewhere")
            return await first.read(await first.paint("png", operation=PictureOperation.EDIT, parents=(upload,)))

    report = asyncio.run(scenario())
    assert report["state"] == "intact"
    assert report["origin"]["signed_by"]["expected"] is True
    (before,) = report["origin"]["made_from"]
    assert before["holds"] is True
    assert before["origin"]["picture"]["request_id"] == "req_elsewhere"
    assert before["origin"]["signed_by"]["expected"] is None


def test_an_upload_that_is_no_picture_is_the_callers_fault(tmp_path: Path) -> None:
    """A parent in another format is refused as a wrong image, and the next picture is finished."""

    async def scenario() -> str:
        async with installation(tmp_path) as here:
            with pytest.raises(InvalidRequest) as refused:
                await here.paint(operation=PictureOperation.EDIT, parents=(b"GIF89a" + noise(),))
            await here.paint()
            return str(refused.value.param)

    assert asyncio.run(scenario()) == "image"
