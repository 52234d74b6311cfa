"""Pictures on the command line: a contact sheet of several, and the ways in which terminals show one.

Terminals differ: kitty's graphics protocol (https://sw.kovidgoyal.net/kitty/graphics-protocol/) takes PNG, iTerm2's
(https://iterm2.com/documentation-images.html) any file, and sixel (DEC STD 070) pixels of a small palette.
"""

import base64
import io
import math
from collections.abc import Iterator, Mapping, Sequence
from itertools import groupby
from typing import Literal, TypeAlias

from PIL import Image

Protocol: TypeAlias = Literal["kitty", "iterm", "sixel"]

GAP = 8
"""Pixels between the pictures of a contact sheet."""
SHOWN = 512
"""Pixels of the longer side in a terminal."""
_KITTY_PIECE = 4096
_SIXEL_COLOURS = 128
_ITERM = frozenset({"iTerm.app", "WezTerm", "iTerm2", "mintty", "rio"})
_SIXEL = ("foot", "mlterm", "contour", "yaft", "xterm-sixel")


def protocol_of(terminal: Mapping[str, str]) -> Protocol | None:
    """How the terminal shows pictures, as its variables tell; None if it does not, or a multiplexer is between."""
    term = terminal.get("TERM", "")
    if "TMUX" in terminal or term.startswith(("tmux", "screen")):
        return None
    if "KITTY_WINDOW_ID" in terminal or term in {"xterm-kitty", "xterm-ghostty"}:
        return "kitty"
    if {terminal.get("TERM_PROGRAM"), terminal.get("LC_TERMINAL")} & _ITERM:
        return "iterm"
    return "sixel" if term.startswith(_SIXEL) else None


def contact_sheet(files: Sequence[bytes], kind: str) -> bytes:
    """All pictures in one, row by row, as a file of a format that Pillow names."""
    pictures = [_opened(data) for data in files]
    columns = math.ceil(math.sqrt(len(pictures)))
    rows = math.ceil(len(pictures) / columns)
    width, height = max(p.width for p in pictures), max(p.height for p in pictures)
    size = (columns * (width + GAP) + GAP, rows * (height + GAP) + GAP)
    sheet = Image.new("RGB", size, (255, 255, 255))
    for place, picture in enumerate(pictures):
        left, top = GAP + place % columns * (width + GAP), GAP + place // columns * (height + GAP)
        sheet.paste(picture, (left, top), picture.getchannel("A"))
    buffer = io.BytesIO()
    sheet.save(buffer, kind, quality=95)
    return buffer.getvalue()


def shown(data: bytes, protocol: Protocol) -> str:
    """What to print so that a terminal shows a picture."""
    picture = _opened(data)
    picture.thumbnail((SHOWN, SHOWN))
    if protocol == "sixel":
        return "".join(_sixel(picture))
    buffer = io.BytesIO()
    picture.save(buffer, "PNG")
    text = base64.b64encode(buffer.getvalue()).decode("ascii")
    if protocol == "iterm":
        return f"\x1b]1337;File=inline=1;size={len(buffer.getvalue())}:{text}\x07"
    return "".join(_kitty(text))


def _kitty(text: str) -> Iterator[str]:
    """Pieces of at most so many characters, each of which says whether another follows."""
    for at in range(0, len(text), _KITTY_PIECE):
        head = "a=T,f=100," if at == 0 else ""
        more = int(at + _KITTY_PIECE < len(text))
        yield f"\x1b_G{head}m={more};{text[at : at + _KITTY_PIECE]}\x1b\\"


def _sixel(picture: Image.Image) -> Iterator[str]:
    """The palette, then bands of six rows; in a band, a line of characters for each colour that is in it."""
    ground = Image.new("RGB", picture.size, (255, 255, 255))
    ground.paste(picture, mask=picture.getchannel("A"))
    reduced = ground.quantize(_SIXEL_COLOURS)
    width, height = reduced.size
    palette, pixels = reduced.getpalette() or [], reduced.tobytes()
    yield f'\x1bPq"1;1;{width};{height}'
    for colour in range(len(palette) // 3):
        red, green, blue = (round(value * 100 / 255) for value in palette[3 * colour : 3 * colour + 3])
        yield f"#{colour};2;{red};{green};{blue}"
    for top in range(0, height, 6):
        lines: dict[int, bytearray] = {}
        for row in range(min(6, height - top)):
            start = (top + row) * width
            for column, colour in enumerate(pixels[start : start + width]):
                lines.setdefault(colour, bytearray(width))[column] |= 1 << row
        yield "$".join(f"#{colour}{_run_lengths(line)}" for colour, line in lines.items()) + "-"
    yield "\x1b\\"


def _run_lengths(line: bytearray) -> str:
    """A line of sixels; what is repeated is said once, with how often."""
    runs = ((chr(63 + value), len(list(same))) for value, same in groupby(line))
    return "".join(char * count if count < 4 else f"!{count}{char}" for char, count in runs)


def _opened(data: bytes) -> Image.Image:
    """A picture of the service's, RGBA."""
    return Image.open(io.BytesIO(data), formats=("PNG", "JPEG", "WEBP")).convert("RGBA")
