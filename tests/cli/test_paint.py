"""`freehold paint`, with a running server."""

import base64
import io
import json
import os
import pty
import re
import select
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from PIL import Image, ImageChops

from freehold.cli.paint_pictures import GAP, SHOWN, contact_sheet, protocol_of, shown
from tests.cli.program import ARGV, Program
from tests.gateway.pictures import file, opened, photo

pytestmark = pytest.mark.slow

CONFIG = """
[server]
port = 0
starter = false

[[deployment]]
name = "paint"
engine = "echo"
model = "echo"
task = "images"
"""


@pytest.fixture(scope="module")
def painting(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Program]:
    """A home whose server has a painter."""
    folder = tmp_path_factory.mktemp("painting")
    config = folder / "freehold.toml"
    config.write_text(CONFIG)
    program = Program(folder / "home")
    with program.serving("--config", str(config)):
        yield program


@pytest.mark.slow
def test_pictures_are_painted_and_named(painting: Program, tmp_path: Path) -> None:
    """Files have the names, the number and the format that were asked for, and the same seed paints the same ones."""
    where = tmp_path / "boat.png"
    asked = ["paint", "a boat", "-o", str(where), "--n", "2", "--seed", "1", "--size", "256x256"]
    names = [str(tmp_path / name) for name in ("boat-1.png", "boat-2.png")]
    assert painting.fine(*asked).split() == names
    first = [opened(Path(name).read_bytes()) for name in names]
    assert [picture.size for picture in first] == [(256, 256)] * 2
    painting.fine(*asked)
    assert [opened(Path(name).read_bytes()).tobytes() for name in names] == [each.tobytes() for each in first]
    painting.fine("paint", "-", "-o", str(tmp_path / "boat.jpg"), stdin="a boat\n")
    assert opened((tmp_path / "boat.jpg").read_bytes()).format == "JPEG"


@pytest.mark.slow
def test_a_picture_is_edited_and_varied(painting: Program, tmp_path: Path) -> None:
    """An edit changes what the mask leaves open and nothing else, and a variation needs no prompt."""
    picture, mask = photo(256, 256), Image.new("RGBA", (256, 256), (0, 0, 0, 255))
    mask.paste((0, 0, 0, 0), (0, 128, 256, 256))
    (tmp_path / "a.png").write_bytes(file(picture))
    (tmp_path / "m.png").write_bytes(file(mask))
    where = tmp_path / "b.png"
    given = ["--edit", str(tmp_path / "a.png"), "--mask", str(tmp_path / "m.png"), "--size", "256x256"]
    painting.fine("paint", "a hat", *given, "-o", str(where))
    change = ImageChops.difference(opened(where.read_bytes()).convert("RGB"), picture).getbbox()
    assert change is not None
    assert change[1] >= 128
    told = painting.json("paint", "--variation", str(where), "--n", "3", "-o", str(tmp_path / "c.webp"))
    assert [Path(name).name for name in told["files"]] == ["c-1.webp", "c-2.webp", "c-3.webp"]
    assert len({Path(name).read_bytes() for name in told["files"]}) == 3


@pytest.mark.slow
def test_a_contact_sheet_has_all_pictures(painting: Program, tmp_path: Path) -> None:
    """A sheet holds every picture in its place, beside the files of their own."""
    where = tmp_path / "x.png"
    names = painting.fine("paint", "x", "--n", "4", "--size", "256x256", "--contact-sheet", "-o", str(where)).split()
    assert [Path(name).name for name in names] == ["x-1.png", "x-2.png", "x-3.png", "x-4.png", "x-sheet.png"]
    sheet = opened(Path(names[-1]).read_bytes())
    assert sheet.size == (2 * 256 + 3 * GAP, 2 * 256 + 3 * GAP)
    last = sheet.crop((256 + 2 * GAP, 256 + 2 * GAP, 2 * 256 + 2 * GAP, 2 * 256 + 2 * GAP))
    assert last.tobytes() == opened(Path(names[3]).read_bytes()).convert("RGB").tobytes()


@pytest.mark.slow
def test_no_file_is_replaced_that_was_not_named(painting: Program, tmp_path: Path) -> None:
    """Without --output a free name is found, in the current folder."""
    for expected in ("picture.png", "picture-002.png"):
        done = subprocess.run(
            [*ARGV, "paint", "x", "--size", "256x256"],
            cwd=tmp_path,
            env=painting.environment,
            capture_output=True,
            text=True,
            check=True,
        )
        assert done.stdout.split() == [expected]
    assert {entry.name for entry in tmp_path.iterdir()} == {"picture.png", "picture-002.png"}


@pytest.mark.slow
def test_what_cannot_be_painted_is_told(painting: Program, tmp_path: Path) -> None:
    """Options that do not go together, names without a format and what the service refuses end with 2 and a reason."""
    picture = tmp_path / "a.svg"
    picture.write_text("<svg/>")
    assert "--mask" in painting.refused(2, "paint", "x", "--mask", str(picture))
    assert "--variation" in painting.refused(2, "paint", "x", "--variation", str(picture))
    assert ".webp" in painting.refused(2, "paint", "x", "-o", str(tmp_path / "a.gif"))
    assert "SVG" in painting.refused(2, "paint", "--variation", str(picture), "-o", str(tmp_path / "b.png"))
    assert "256x256" in painting.refused(2, "paint", "x", "--size", "1x1", "-o", str(tmp_path / "b.png"))
    assert "written" in painting.refused(2, "paint", "x", "-o", str(tmp_path / "none" / "b.png"))
    assert not (tmp_path / "b.png").exists()


@pytest.mark.slow
def test_a_terminal_shows_the_picture(painting: Program, tmp_path: Path) -> None:
    """In a terminal that says it is kitty the picture itself is printed before its name."""
    where = tmp_path / "a.png"
    leader, follower = pty.openpty()
    environment = {**painting.environment, "TERM": "xterm-kitty"}
    environment.pop("TMUX", None)
    process = subprocess.Popen(
        [*ARGV, "paint", "x", "--size", "256x256", "-o", str(where)], env=environment, stdout=follower
    )
    os.close(follower)
    printed = b""
    while process.poll() is None or select.select([leader], [], [], 0.2)[0]:
        if select.select([leader], [], [], 0.2)[0]:
            try:
                printed += os.read(leader, 65536)
            except OSError:  # the other end is closed
                break
    os.close(leader)
    assert process.wait() == 0
    pieces = re.findall(rb"\x1b_G(?:a=T,f=100,)?m=\d;([^\x1b]*)\x1b\\", printed)
    assert opened(base64.b64decode(b"".join(pieces))).tobytes() == opened(where.read_bytes()).convert("RGBA").tobytes()
    assert str(where).encode() in printed


@pytest.mark.parametrize(
    ("terminal", "protocol"),
    [
        ({"TERM": "xterm-kitty"}, "kitty"),
        ({"TERM": "xterm-256color", "KITTY_WINDOW_ID": "1"}, "kitty"),
        ({"TERM": "xterm-256color", "TERM_PROGRAM": "iTerm.app"}, "iterm"),
        ({"TERM": "xterm-256color", "LC_TERMINAL": "iTerm2"}, "iterm"),
        ({"TERM": "foot"}, "sixel"),
        ({"TERM": "xterm-kitty", "TMUX": "/tmp/tmux"}, None),
        ({"TERM": "screen"}, None),
        ({"TERM": "xterm-256color"}, None),
        ({}, None),
    ],
)
def test_terminals_are_known_by_their_variables(terminal: dict[str, str], protocol: str | None) -> None:
    """Each terminal that shows pictures is known, and none is taken for one behind a multiplexer."""
    assert protocol_of(terminal) == protocol


def test_iterm_gets_a_file() -> None:
    """For iTerm2 a picture is one sequence with a file that is not larger than is shown."""
    text = shown(file(photo(2048, 1024), "JPEG"), "iterm")
    head, _, data = text.partition(":")
    assert head.startswith("\x1b]1337;File=inline=1;size=")
    picture = opened(base64.b64decode(data.removesuffix("\x07")))
    assert picture.size == (SHOWN, SHOWN // 2)


def test_sixels_are_the_picture() -> None:
    """Sixels, drawn as a terminal draws them, are the picture in its reduced colours."""
    picture = photo(30, 20)
    drawn = _drawn(shown(file(picture), "sixel"))
    difference = ImageChops.difference(drawn, picture)
    assert drawn.size == picture.size
    assert max(difference.tobytes()) <= 8


def test_a_sheet_of_pictures_of_several_sizes() -> None:
    """Pictures of different sizes and formats come onto one sheet, three in two rows."""
    data = contact_sheet([file(photo(40, 20)), file(photo(20, 40), "JPEG"), file(photo(8, 8), "WEBP")], "JPEG")
    sheet = Image.open(io.BytesIO(data))
    assert (sheet.format, sheet.size) == ("JPEG", (2 * 40 + 3 * GAP, 2 * 40 + 3 * GAP))


def test_without_a_server_nothing_is_painted(tmp_path: Path) -> None:
    """Without a running server the command ends with 3 and one line of JSON where that is asked for."""
    done = Program(tmp_path / "home").run("paint", "x", "--json")
    assert done.returncode == 3
    assert json.loads(done.stderr)["error"]["code"] == "service_unreachable"


def _drawn(text: str) -> Image.Image:
    """What a terminal draws for sixels."""
    body = text.removeprefix("\x1bPq").removesuffix("\x1b\\")
    _, _, width, height = (int(number) for number in re.findall(r"\d+", body[: body.index("#")]))
    picture = Image.new("RGB", (width, height))
    colours: dict[int, tuple[int, int, int]] = {}
    colour, x, top = 0, 0, 0
    for define, red, green, blue, choose, count, char, control in re.findall(
        r"#(\d+);2;(\d+);(\d+);(\d+)|#(\d+)|!(\d+)(.)|([?-~$-])", body[body.index("#") :]
    ):
        if define:
            colours[int(define)] = (int(red) * 255 // 100, int(green) * 255 // 100, int(blue) * 255 // 100)
        elif choose:
            colour = int(choose)
        elif control == "$":
            x = 0
        elif control == "-":
            x, top = 0, top + 6
        else:
            for _ in range(int(count or 1)):
                for row in range(6):
                    if ord(char or control) - 63 >> row & 1:
                        picture.putpixel((x, top + row), colours[colour])
                x += 1  # noqa: SIM113  # what repeats counts more than once
    return picture
