"""`freehold paint`: pictures from a text, from a text and a picture, or from a picture."""

import asyncio
import base64
import sys
from pathlib import Path
from typing import Annotated, Any

import typer

from freehold.cli.control import open_service
from freehold.cli.lazy import command_group
from freehold.cli.options import HomeOption, JsonOption, home_of
from freehold.cli.output import print_json, print_note
from freehold.cli.paint_pictures import contact_sheet, protocol_of, shown
from freehold.cli.requests import ModelOption, SeedOption, read_text
from freehold.config import terminal_from_environment

app = command_group()

FORMATS = {".png": "png", ".jpg": "jpeg", ".jpeg": "jpeg", ".webp": "webp"}
"""What a file's name says of its format."""
_EPILOG = """\b
Examples:
  freehold paint "a lighthouse at sunset" -o lighthouse.png
  freehold paint "a red fish" --n 4 --seed 1 --contact-sheet
  freehold paint "a straw hat" --edit cat.png --mask hat.png -o cat-with-hat.png
  freehold paint --variation cat.png --n 3"""


@app.command(epilog=_EPILOG)
def paint(
    prompt: Annotated[
        str | None, typer.Argument(metavar="PROMPT", help="What to paint; '-' reads it from stdin.")
    ] = None,
    output: Annotated[
        Path | None,
        typer.Option("--output", "-o", metavar="FILE", help="Where to: .png, .jpg or .webp. [default: picture.png]"),
    ] = None,
    n: Annotated[int, typer.Option("--n", min=1, max=10, help="How many; several get numbered names.")] = 1,
    model: ModelOption = "paint",
    size: Annotated[str | None, typer.Option(help="WIDTHxHEIGHT in pixels, as the model paints it.")] = None,
    quality: Annotated[str | None, typer.Option(help="low, medium, high, … where the model has it.")] = None,
    seed: SeedOption = None,
    edit: Annotated[
        Path | None, typer.Option(metavar="FILE", exists=True, dir_okay=False, help="A picture to change.")
    ] = None,
    mask: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE", exists=True, dir_okay=False, help="With --edit: where this is transparent, it is changed."
        ),
    ] = None,
    variation: Annotated[
        Path | None,
        typer.Option(metavar="FILE", exists=True, dir_okay=False, help="A picture to vary, with no prompt."),
    ] = None,
    sheet: Annotated[bool, typer.Option("--contact-sheet", help="Also put all pictures into one file.")] = False,
    home: HomeOption = None,
    as_json: JsonOption = False,
) -> None:
    """Paint pictures, print the names of their files, and show them where the terminal can.

    Needs a running server. An existing file is replaced only if --output names it.
    """
    _check(prompt, edit, mask, variation)
    fields: dict[str, Any] = {"model": model, "n": n, "response_format": "b64_json"}
    operation, files = "generations", {}
    if variation is not None:
        operation, files = "variations", {"image": variation.read_bytes()}
    else:
        fields["prompt"] = read_text(prompt, "prompt")
    if edit is not None:
        operation, files = "edits", {"image": edit.read_bytes()}
    if mask is not None:
        files["mask"] = mask.read_bytes()
    where = output or _free("picture.png", n, sheet=sheet)
    fields |= {"output_format": _format(where)}
    fields |= {
        name: value for name, value in (("size", size), ("quality", quality), ("seed", seed)) if value is not None
    }
    answer = asyncio.run(_ask(home_of(home), operation, fields, files))
    _write(answer, where, sheet=sheet, as_json=as_json)


def _check(prompt: str | None, edit: Path | None, mask: Path | None, variation: Path | None) -> None:
    """Hold that the options go together.

    Raises:
        typer.BadParameter: otherwise.
    """
    if mask is not None and edit is None:
        raise typer.BadParameter("--mask says what to change of a picture: give that with --edit")
    if variation is not None and (prompt is not None or edit is not None):
        raise typer.BadParameter("--variation works from the picture alone: leave out the prompt and --edit")


def _format(where: Path) -> str:
    """The format that a file's name asks for.

    Raises:
        typer.BadParameter: it asks for none that there is.
    """
    found = FORMATS.get(where.suffix.lower())
    if found is None:
        raise typer.BadParameter(f"--output: '{where.name}' must end with one of {', '.join(FORMATS)}")
    return found


def _places(where: Path, count: int, *, sheet: bool) -> list[Path]:
    """The files of so many pictures, then that of the sheet."""
    numbered = [where.with_stem(f"{where.stem}-{number}") for number in range(1, count + 1)]
    places = [where] if count == 1 else numbered
    return [*places, where.with_stem(f"{where.stem}-sheet")] if sheet else places


def _free(name: str, count: int, *, sheet: bool) -> Path:
    """The name, or the first one like it under which no file would be replaced."""
    first = Path(name)
    where, number = first, 1
    while any(place.exists() for place in _places(where, count, sheet=sheet)):
        number += 1
        where = first.with_stem(f"{first.stem}-{number:03}")
    return where


async def _ask(home: Path, operation: str, fields: dict[str, Any], files: dict[str, bytes]) -> dict[str, Any]:
    async with open_service(home) as service:
        return await service.paint(f"/v1/images/{operation}", fields, files)


def _write(answer: dict[str, Any], where: Path, *, sheet: bool, as_json: bool) -> None:
    """Write the pictures, tell where, and show them or the sheet."""
    pictures = [base64.b64decode(image["b64_json"]) for image in answer["data"]]
    places = _places(where, len(pictures), sheet=sheet)
    files = [*pictures, contact_sheet(pictures, _format(where))] if sheet else pictures
    for place, data in zip(places, files, strict=True):
        try:
            place.write_bytes(data)
        except OSError as exc:
            raise typer.BadParameter(f"{place} cannot be written: {exc.strerror}") from exc
    if as_json:
        print_json({"files": [str(place) for place in places], "usage": answer.get("usage")})
        return
    protocol = protocol_of(terminal_from_environment()) if sys.stdout.isatty() else None
    for place, data in zip(places, files, strict=True):
        if protocol is not None and (not sheet or place == places[-1]):
            print(shown(data, protocol))
        print(place)
    for image in answer["data"]:
        if image.get("revised_prompt"):
            print_note(f"painted: {image['revised_prompt']}")
