"""The pictures of the objects: Noto's colour emoji (Debian package `fonts-noto-color-emoji`, SIL Open Font License)."""

from collections.abc import Sequence
from pathlib import Path

from PIL import Image, ImageDraw, ImageFont

FONT = Path("/usr/share/fonts/truetype/noto/NotoColorEmoji.ttf")
BITMAP = 109
"""The one size that the font's bitmaps have."""


def load_glyphs(emoji: Sequence[str], font: Path = FONT) -> tuple[Image.Image, ...]:
    """Each object as a square RGBA picture, cut to what is painted and centred.

    Raises:
        OSError: the font is not installed.
    """
    face = ImageFont.truetype(str(font), BITMAP)
    return tuple(_glyph(character, face) for character in emoji)


def _glyph(character: str, face: ImageFont.FreeTypeFont) -> Image.Image:
    picture = Image.new("RGBA", (160, 160))
    text = character + "\ufe0f" if ord(character) < 0x1F000 else character
    ImageDraw.Draw(picture).text((8, 8), text, font=face, embedded_color=True)
    painted = picture.crop(picture.getbbox())
    side = max(painted.size)
    square = Image.new("RGBA", (side, side))
    square.paste(painted, ((side - painted.width) // 2, (side - painted.height) // 2))
    return square
