"""`POST /v1/provenance` on a real server."""

import asyncio
import base64
import hashlib
import io
import secrets
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from tests.faults.books import receipts
from tests.provenance.installation import installation, noise
from tests.service import Reply, Service

pytestmark = pytest.mark.slow

CONFIG = """
[server]
starter = false
max_body_bytes = 100000

[[deployment]]
name = "painter"
engine = "echo"
model = "echo"
task = "images"
"""


async def _paint(folder: Path) -> bytes:
    async with installation(folder) as here:
        return await here.paint("webp")


@pytest.fixture(scope="module")
def painted(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Service, bytes, bytes]]:
    """A server, a picture of its installation, and one of another's."""
    folder = tmp_path_factory.mktemp("provenance")
    own, others = asyncio.run(_paint(folder / "home")), asyncio.run(_paint(folder / "other"))
    with Service(folder / "home", CONFIG) as running:
        yield running, own, others


def _ask(service: Service, body: bytes, content_type: str = "application/octet-stream") -> Reply:
    headers = {"content-type": content_type}
    return service.request("POST", "/v1/provenance", body, key=service.key, headers=headers)


def _form(name: str, data: bytes) -> tuple[bytes, str]:
    """A form with a field of text and one with a file."""
    boundary = hashlib.sha256(data).hexdigest()[:16]  # the same in each worker, which name the tests by it
    field = f"--{boundary}\r\ncontent-disposition: form-data; name="
    head = f'{field}"note"\r\n\r\nhello\r\n{field}"{name}"; filename="x"\r\n\r\n'
    return head.encode() + data + f"\r\n--{boundary}--\r\n".encode(), f"multipart/form-data; boundary={boundary}"


def test_a_file_is_told_where_it_came_from(painted: tuple[Service, bytes, bytes]) -> None:
    """The body is the file; the answer tells the request, and that this installation signed it."""
    service, own, _ = painted
    reply = _ask(service, own, "image/webp")
    assert reply.status == 200
    report = reply.json()
    assert (report["object"], report["format"], report["state"]) == ("provenance", "webp", "intact")
    assert report["convincing"] is True
    assert report["origin"]["picture"]["request_id"] == "req_lighthouse"


@pytest.mark.parametrize("name", ["file", "image"])
def test_a_form_is_taken_as_well(painted: tuple[Service, bytes, bytes], name: str) -> None:
    """The file may come as a field of a form, among others."""
    service, own, _ = painted
    assert _ask(service, *_form(name, own)).json()["state"] == "intact"


def test_others_and_changed_files_do_not_convince(painted: tuple[Service, bytes, bytes]) -> None:
    """Another installation's picture, a changed one and one without a manifest are told apart."""
    service, own, others = painted
    changed = bytearray(own)
    changed[-40] ^= 1
    told: list[dict[str, Any]] = [_ask(service, data).json() for data in (others, bytes(changed), noise())]
    assert [report["state"] for report in told] == ["intact", "changed", "none"]
    assert [report["convincing"] for report in told] == [False] * 3
    assert told[0]["origin"]["signed_by"]["expected"] is False


@pytest.mark.parametrize(
    ("body", "content_type", "status", "code"),
    [
        (b"", "image/png", 400, "missing_required_parameter"),
        (b"GIF89a", "image/png", 400, "unreadable_picture"),
        (b"x" * 100_001, "image/png", 413, "request_too_large"),
        (*_form("other", b"x"), 400, "missing_required_parameter"),
        (b"no form", "multipart/form-data; boundary=x", 400, "invalid_form"),
        (b"no form", "multipart/form-data", 400, "invalid_form"),
    ],
)
def test_what_is_no_picture_is_refused(
    painted: tuple[Service, bytes, bytes], body: bytes, content_type: str, status: int, code: str
) -> None:
    """A missing, foreign or too large file and a broken form are the caller's fault, and say so."""
    reply = _ask(painted[0], body, content_type)
    assert reply.status == status
    assert reply.json()["error"]["code"] == code


def test_it_needs_a_key_and_leaves_a_receipt(painted: tuple[Service, bytes, bytes]) -> None:
    """Without a credential nothing is read; each question has a receipt that says nothing of the file."""
    service, own, _ = painted
    assert service.request("POST", "/v1/provenance", own).status == 401
    reply = _ask(service, own)
    found = [one for one in receipts(service.home.root) if one["request_id"] == reply.headers["x-request-id"]]
    assert [(one["route"], one["outcome"]) for one in found] == [("/v1/provenance", "finished")]


def test_what_the_api_paints_is_proven(painted: tuple[Service, bytes, bytes]) -> None:
    """A picture from the API tells its request; an edit and a variation of it tell it as their parent."""
    service = painted[0]
    asked = {"model": "painter", "prompt": "a boat", "size": "256x256", "response_format": "b64_json"}
    reply = service.post("/v1/images/generations", {**asked, "output_format": "webp"})
    first = base64.b64decode(reply.json()["data"][0]["b64_json"])
    report = _ask(service, first).json()
    assert report["convincing"] is True
    assert report["origin"]["picture"]["request_id"] == reply.headers["x-request-id"]
    assert report["origin"]["picture"]["deployment"] == "painter"
    mask = Image.new("RGBA", (256, 256), (0, 0, 0, 0))
    out = io.BytesIO()
    mask.save(out, "PNG")
    for path, fields, parts in (
        ("edits", asked, {"image": first, "mask": out.getvalue()}),
        ("variations", {k: v for k, v in asked.items() if k != "prompt"}, {"image": first}),
    ):
        body, kind = _paint_form(fields, parts)
        made = service.request("POST", f"/v1/images/{path}", body, key=service.key, headers={"content-type": kind})
        data = base64.b64decode(made.json()["data"][0]["b64_json"])
        report = _ask(service, data).json()
        assert report["convincing"] is True
        parent = report["origin"]["made_from"][0]
        assert parent["relationship"] == "parentOf"
        assert parent["origin"]["picture"]["request_id"] == reply.headers["x-request-id"]


def _paint_form(fields: dict[str, str], parts: dict[str, bytes]) -> tuple[bytes, str]:
    """A form of text fields and files."""
    boundary = secrets.token_hex(8)
    pieces = [f'--{boundary}\r\ncontent-disposition: form-data; name="{k}"\r\n\r\n{v}\r\n' for k, v in fields.items()]
    body = "".join(pieces).encode()
    for name, data in parts.items():
        head = f'--{boundary}\r\ncontent-disposition: form-data; name="{name}"; filename="x"\r\n\r\n'
        body += head.encode() + data + b"\r\n"
    return body + f"--{boundary}--\r\n".encode(), f"multipart/form-data; boundary={boundary}"
