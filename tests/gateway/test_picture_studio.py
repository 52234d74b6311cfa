"""What becomes of uploaded pictures, good and hostile."""

import asyncio
import io
import struct
import zlib
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest
from PIL import Image, ImageChops

from freehold.errors import InvalidRequest
from freehold.gateway.picture_headers import read_header
from freehold.gateway.picture_studio import MEMORY_BYTES, Sources, Studio
from freehold.types.images import HeldUpload
from tests.gateway.pictures import chunk, file, hostile, opened, photo, png_of, zeros

pytestmark = pytest.mark.slow

HOSTILE = hostile()


def within(trial: Callable[[Studio], Awaitable[None]], **options: Any) -> None:
    """Run a trial on a studio of its own."""

    async def main() -> None:
        studio = Studio(**options)
        try:
            await trial(studio)
        finally:
            await studio.close()

    asyncio.run(main())


def made(
    data: bytes, mask: bytes | None = None, *, sizes: tuple[tuple[int, int], ...] = (), edit: bool = True
) -> Sources:
    """What a studio makes of an upload."""
    found: list[Sources] = []

    async def trial(studio: Studio) -> None:
        uploaded = None if mask is None else HeldUpload(mask)
        found.append(await studio.sources(HeldUpload(data), uploaded, sizes, edit=edit))

    within(trial)
    return found[0]


def peak_kib(pid: int) -> int:
    """The most memory that a process ever had, in KiB."""
    status = Path(f"/proc/{pid}/status").read_text(encoding="utf-8")
    return int(status.partition("VmHWM:")[2].split()[0])


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "WEBP"])
def test_a_picture_comes_as_a_plain_png(kind: str) -> None:
    """A PNG, a JPEG and a WebP become an RGB PNG of the size asked for that looks the same."""
    sources = made(file(photo(100, 100), kind), sizes=((64, 64),), edit=False)
    picture = opened(sources.image)
    assert (picture.format, picture.mode, picture.size, sources.size) == ("PNG", "RGB", (64, 64), "64x64")
    left, right = picture.getpixel((10, 40)), picture.getpixel((54, 40))
    assert isinstance(left, tuple)
    assert isinstance(right, tuple)
    assert left[0] > 150 + left[2]
    assert right[2] > 150 + right[0]
    assert sources.mask is None


@pytest.mark.parametrize("mode", ["1", "L", "LA", "P", "RGBA", "I;16", "CMYK"])
def test_every_kind_of_pixel_is_taken(mode: str) -> None:
    """Grey, coloured by a palette, deep, transparent and printers' pictures become RGB."""
    picture = (
        Image.linear_gradient("L").convert("I").point(lambda v: v * 257).convert("I;16") if mode == "I;16" else None
    )
    data = file(picture or photo().convert(mode), "JPEG" if mode == "CMYK" else "PNG")
    made_of = opened(made(data, edit=False).image)
    assert made_of.mode == "RGB"
    darkest, brightest = made_of.convert("L").getextrema()
    assert isinstance(darkest, int)
    assert isinstance(brightest, int)
    assert darkest < 100
    assert brightest > 150


@pytest.mark.parametrize(
    ("size", "nearest"),
    [((300, 200), "1536x1024"), ((90, 100), "256x256"), ((800, 900), "1024x1024"), ((1, 9), "64x128")],
)
def test_of_several_sizes_the_nearest_is_taken(size: tuple[int, int], nearest: str) -> None:
    """The size of the most alike shape is chosen, and of those the one of the most alike area."""
    sizes = ((1024, 1024), (256, 256), (1536, 1024), (64, 128))
    assert made(file(photo(*size)), sizes=sizes).size == nearest


def test_the_orientation_is_applied_and_everything_else_goes() -> None:
    """A picture that a camera turned comes upright, without position, text or profile."""
    exif = Image.Exif()
    exif[0x0112] = 3
    exif.get_ifd(0x8825)[1] = "N"
    for kind, options in (("JPEG", {"comment": b"secret"}), ("PNG", {}), ("WEBP", {})):
        data = file(photo(), kind, exif=exif, icc_profile=b"secret profile", **options)
        sources = made(data, edit=False)
        assert read_header(sources.image).clean == sources.image
        assert b"eXIf" not in sources.image
        upright = opened(sources.image)
        colour = upright.getpixel((5, 20))
        assert isinstance(colour, tuple)
        assert colour[2] > 150
        assert upright.info.get("exif") is None
        assert b"secret" not in sources.image


def test_the_transparent_part_of_the_mask_is_painted_anew() -> None:
    """The mask is 255 exactly where the uploaded mask, or without one the picture, is fully transparent."""
    hole = photo().convert("RGBA")
    hole.paste((0, 0, 0, 0), (0, 0, 32, 64))
    hole.paste((9, 9, 9, 128), (32, 0, 40, 64))
    expected = Image.new("L", (64, 64), 0)
    expected.paste(255, (0, 0, 32, 64))
    for sources in (
        made(file(photo()), file(hole)),
        made(file(hole)),
        made(file(photo(), "WEBP"), file(hole, "WEBP", lossless=True)),
    ):
        assert sources.mask is not None
        mask = opened(sources.mask)
        assert mask.mode == "L"
        assert ImageChops.difference(mask, expected).getbbox() is None
    assert opened(made(file(photo())).mask or b"").getextrema() == (255, 255)


def test_a_mask_that_does_not_fit_is_refused_by_name() -> None:
    """A mask of another size, without transparency or broken is refused, and the parameter at fault is `mask`."""
    clear = Image.new("RGBA", (64, 64))
    for mask, words in (
        (file(clear.resize((32, 64))), "32x64"),
        (file(photo()), "no transparent part"),
        (file(clear)[:-20], "cut off"),
    ):
        with pytest.raises(InvalidRequest, match=words) as caught:
            made(file(photo()), mask)
        assert caught.value.param == "mask"


@pytest.mark.parametrize("name", HOSTILE)
def test_a_hostile_upload_is_refused(name: str) -> None:
    """A file that is meant to do harm is refused with words that say what is wrong with it."""
    make, words = HOSTILE[name]
    with pytest.raises(InvalidRequest, match=words) as caught:
        made(make(), edit=False)
    assert caught.value.param == "image"


def test_hostile_uploads_need_little_memory() -> None:
    """After all hostile files the process that looked at them never had more than 300 MB in memory, and still works."""

    async def trial(studio: Studio) -> None:
        for make, _ in HOSTILE.values():
            with pytest.raises(InvalidRequest):
                await studio.sources(HeldUpload(make()), None, (), edit=False)
        process = studio._uploads._process
        assert process is not None
        assert await asyncio.to_thread(peak_kib, process.pid) < 300_000
        assert (await studio.sources(HeldUpload(file(photo())), None, (), edit=False)).size == "64x64"

    within(trial)


def test_a_text_that_unpacks_to_much_is_never_unpacked() -> None:
    """A small compressed text that would be 50 MB is dropped unread, with all other metadata."""
    bomb = chunk(b"zTXt", b"a\0\0" + zeros(50_000_000))
    data = png_of(64, 64, bomb, pixels=zlib.compress(b"".join(b"\0" + bytes(64 * 3) for _ in range(64))))
    assert b"zTXt" not in read_header(data).clean
    assert opened(made(data, edit=False).image).size == (64, 64)


def test_a_telephones_jpeg_is_taken() -> None:
    """A JPEG with a smaller copy of itself and zeros behind its end is taken: cameras write that."""
    data = file(photo(), "JPEG") + file(photo(8, 8), "JPEG") + bytes(16)
    assert made(data, edit=False).size == "64x64"


def test_the_largest_picture_fits_the_bound() -> None:
    """A picture of as many pixels as are taken, turned by a camera, is decoded within the bound of memory."""
    exif = Image.Exif()
    exif[0x0112] = 6
    data = file(Image.new("RGB", (8160, 6120), (9, 99, 199)), "JPEG", exif=exif)
    assert made(data, sizes=((256, 256),), edit=False).size == "256x256"


def test_a_picture_beyond_the_bound_is_refused_and_the_next_is_taken() -> None:
    """A picture that needs more memory than there is is refused, and the process works on or is started anew."""

    async def trial(studio: Studio) -> None:
        big = file(Image.new("RGB", (6000, 6000)), "PNG")
        with pytest.raises(InvalidRequest, match="memory"):
            await studio.sources(HeldUpload(big), None, ((64, 64),), edit=False)
        assert (await studio.sources(HeldUpload(file(photo())), None, (), edit=False)).size == "64x64"

    within(trial, memory_bytes=MEMORY_BYTES // 5)


def test_a_picture_that_takes_too_long_is_refused() -> None:
    """A job over its time is refused, its process is gone, and none is left behind."""

    async def trial(studio: Studio) -> None:
        with pytest.raises(InvalidRequest, match="time or memory"):
            await studio.sources(HeldUpload(file(photo())), None, (), edit=False)
        assert studio._uploads._process is None

    within(trial, deadline_s=0.0)


def test_a_killed_process_is_started_anew() -> None:
    """After its process was killed a studio decodes the next picture with a new one."""

    async def trial(studio: Studio) -> None:
        await studio.sources(HeldUpload(file(photo())), None, (), edit=False)
        first = studio._uploads._process
        assert first is not None
        first.kill()
        await first.wait()
        assert (await studio.sources(HeldUpload(file(photo())), None, (), edit=False)).size == "64x64"
        assert studio._uploads._process is not first

    within(trial)


def test_a_cancelled_job_leaves_nothing_for_the_next() -> None:
    """A job whose caller went away is ended, and the next one gets its own answer."""

    async def trial(studio: Studio) -> None:
        big = HeldUpload(file(Image.effect_noise((3000, 3000), 50)))
        task = asyncio.create_task(studio.sources(big, None, ((1024, 1024),), edit=False))
        for _ in range(1000):
            await asyncio.sleep(0)  # lets the job begin; wherever it is cancelled, the next one must not notice
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert (await studio.sources(HeldUpload(file(photo())), None, (), edit=False)).size == "64x64"

    within(trial)


def test_headers_are_read_whatever_is_cut_or_changed() -> None:
    """A header of a damaged file is read or refused, and nothing else ever happens."""
    refused = taken = 0
    for data in (file(photo()), file(photo(), "JPEG"), file(photo(), "WEBP"), file(photo().convert("P"))):
        for at in range(len(data)):
            for changed in (data[:at], data[:at] + bytes([data[at] ^ 0xFF]) + data[at + 1 :]):
                try:
                    header = read_header(changed)
                except ValueError:
                    refused += 1
                else:
                    taken += 1
                    assert header.width * header.height <= 50_000_000
    assert refused > taken > 0


def test_a_picture_tells_its_size_in_big_endian() -> None:
    """The size of a PNG is read as it stands in its header."""
    data = png_of(300, 7, pixels=zlib.compress(b"".join(b"\0" + bytes(900) for _ in range(7))))
    assert struct.unpack(">II", data[16:24]) == (300, 7)
    assert (read_header(data).width, read_header(data).height) == (300, 7)
    assert io.BytesIO(data).read(4) == b"\x89PNG"
