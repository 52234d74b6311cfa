"""`freehold provenance`: reading a picture's origin without a server."""

import asyncio
from pathlib import Path

import pytest
from cryptography import x509

from freehold.types.images import PictureOperation
from tests.cli.program import Program
from tests.provenance.installation import installation, noise

pytestmark = pytest.mark.slow


@pytest.fixture
def program(tmp_path: Path) -> Program:
    """The program on a home that has signed a picture, an edit of it and, elsewhere, another's picture."""

    async def paint() -> None:
        async with installation(tmp_path / "home") as here, installation(tmp_path / "other") as other:
            first = await here.paint("png")
            (tmp_path / "own.png").write_bytes(first)
            edit = await here.paint("jpeg", operation=PictureOperation.EDIT, request_id="req_edit", parents=(first,))
            (tmp_path / "edit.jpg").write_bytes(edit)
            (tmp_path / "state.png").write_bytes(await here.paint("png", unfinished=1))
            (tmp_path / "other.webp").write_bytes(await other.paint("webp"))

    asyncio.run(paint())
    return Program(tmp_path / "home")


def test_a_picture_of_the_home_is_told_in_words(program: Program, tmp_path: Path) -> None:
    """Who, when, with what and from what stand in plain lines, and the exit code says that it is believed."""
    told = program.fine("provenance", str(tmp_path / "edit.jpg"))
    for expected in (
        "edit.jpg: the signature holds",
        "the expected certificate",
        "made with Freehold",
        "request req_edit",
        "by starter-painter abababababab",
        "painted 2025-11-24 16:00:00 UTC",
        "made from: The picture that was changed (image/png), whose manifest holds",
        "request req_lighthouse",
        "IPTC mark: made from something else, changed by a trained model",
    ):
        assert expected in told


def test_an_unfinished_state_is_told_as_one(program: Program, tmp_path: Path) -> None:
    """A state on the way to a picture is not told as the picture itself."""
    told = [program.fine("provenance", str(tmp_path / name)) for name in ("state.png", "own.png")]
    assert ["UNFINISHED: state 1" in each for each in told] == [True, False]


def test_it_is_told_as_json_too(program: Program, tmp_path: Path) -> None:
    """--json gives the report as `POST /v1/provenance` does."""
    report = program.json("provenance", str(tmp_path / "own.png"))
    assert (report["object"], report["state"], report["convincing"]) == ("provenance", "intact", True)


def test_what_does_not_convince_ends_with_1(program: Program, tmp_path: Path) -> None:
    """Another's, a changed and an unsigned picture end with exit code 1, and say why."""
    changed = bytearray((tmp_path / "own.png").read_bytes())
    changed[-30] ^= 1
    (tmp_path / "changed.png").write_bytes(changed)
    (tmp_path / "plain.png").write_bytes(noise())
    for name, why in (
        ("other.webp", "NOT THE EXPECTED CERTIFICATE"),
        ("changed.png", "NOT AS IT WAS SIGNED"),
        ("plain.png", "there is no manifest"),
    ):
        done = program.run("provenance", str(tmp_path / name))
        assert done.returncode == 1
        assert why in done.stdout


def test_a_certificate_can_be_named(program: Program, tmp_path: Path) -> None:
    """With the other's certificate its picture convinces, on a machine without any home as well."""
    issuer = str(tmp_path / "other" / "provenance" / "issuer.pem")
    picture = str(tmp_path / "other.webp")
    program.fine("provenance", picture, "--certificate", issuer)
    outsider = Program(tmp_path / "no-home")
    assert "the expected certificate" in outsider.fine("provenance", picture, "--certificate", issuer)
    assert "no certificate to compare with" in outsider.fine("provenance", picture)
    assert not (tmp_path / "no-home").exists()


def test_wrong_input_is_told(program: Program, tmp_path: Path) -> None:
    """A missing file, a file of another kind and a file without a certificate end with exit code 2."""
    (tmp_path / "text.png").write_text("hello")
    picture = str(tmp_path / "own.png")
    assert "cannot be read" in program.refused(2, "provenance", str(tmp_path / "missing.png"))
    assert "neither a PNG" in program.refused(2, "provenance", str(tmp_path / "text.png"))
    assert "no certificate" in program.refused(2, "provenance", picture, "--certificate", str(tmp_path / "text.png"))
    leaf = (tmp_path / "home" / "secrets" / "picture.pem").read_bytes()
    assert x509.load_pem_x509_certificate(leaf)
    (tmp_path / "leaf.pem").write_bytes(leaf)
    refused = program.refused(2, "provenance", picture, "--certificate", str(tmp_path / "leaf.pem"))
    assert "no authority's certificate" in refused
