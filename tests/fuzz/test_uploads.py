"""Forms and pictures that are damaged in every way, against a real server whose memory is watched."""

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from tests.fuzz.attack import check_alive, check_error
from tests.gateway.pictures import chunk, file, photo, png_of
from tests.service import Reply, Service

pytestmark = pytest.mark.slow

BOUNDARY = b"fuzz"
HEADERS = {"content-type": "multipart/form-data; boundary=fuzz"}
FILES = [file(photo()), file(photo(), "JPEG"), file(photo(), "WEBP"), file(photo().convert("P"))]


def form(data: bytes, model: bytes = b"painter") -> bytes:
    """A form for a variation."""
    head = b'--fuzz\r\ncontent-disposition: form-data; name="'
    return b"".join(
        [
            *(
                head + name + b'"\r\n\r\n' + value + b"\r\n"
                for name, value in ((b"model", model), (b"size", b"256x256"))
            ),
            head + b'image"; filename="a.png"\r\ncontent-type: image/png\r\n\r\n' + data + b"\r\n--fuzz--\r\n",
        ]
    )


def send(service: Service, body: bytes) -> Reply:
    """Ask for a variation."""
    return service.request("POST", "/v1/images/variations", body, key=service.key, headers=HEADERS)


def check(reply: Reply) -> None:
    """Hold that an answer is good or says what is wrong with the request."""
    if reply.status != 200:
        check_error(reply)


@given(which=st.integers(0, 3), at=st.integers(0, 10_000), junk=st.binary(max_size=40), how=st.sampled_from("cir"))
def test_damaged_pictures(service: Service, which: int, at: int, junk: bytes, how: str) -> None:
    """A picture that is cut, or with bytes put in or changed, is taken or is a 400, and never more."""
    data = FILES[which]
    at %= len(data)
    damaged = {"c": data[:at], "i": data[:at] + junk + data[at:], "r": data[:at] + junk + data[at + len(junk) :]}[how]
    check(send(service, form(damaged)))


@given(at=st.integers(0, 10_000), junk=st.binary(max_size=40), cut=st.booleans())
def test_damaged_forms(service: Service, at: int, junk: bytes, cut: bool) -> None:
    """A form that is cut, or with bytes put in, is taken or is a 400, and never more."""
    body = form(FILES[0])
    at %= len(body)
    check(send(service, body[:at] if cut else body[:at] + junk + body[at:]))


@given(header=st.text(max_size=80).map(lambda text: text.encode("latin-1", "ignore").decode("latin-1")))
def test_strange_boundaries(service: Service, header: str) -> None:
    """Whatever a form's header says of its boundary, the answer is the caller's fault."""
    printable = "".join(char for char in header if char.isprintable() and ord(char) < 127)
    headers = {"content-type": f"multipart/form-data; {printable}"}
    reply = service.request("POST", "/v1/images/variations", form(FILES[0]), key=service.key, headers=headers)
    check(reply)


def test_many_large_uploads_need_little_memory(service: Service) -> None:
    """Eight uploads of 40 MB at once are all answered, and the server needs memory for a few of them only."""
    check(send(service, form(FILES[0])))
    before = _peak_kib(service)
    noise = file(Image.effect_noise((64, 64), 90).convert("RGB"))
    large = png_of(64, 64, chunk(b"tEXt", b"a\0" + bytes(40_000_000)), pixels=noise)
    with ThreadPoolExecutor(8) as pool:
        replies = list(pool.map(lambda _: send(service, form(large)), range(8)))
    assert {reply.status for reply in replies} == {400}
    assert _peak_kib(service) - before < 200_000
    check_alive(service)


def _peak_kib(service: Service) -> int:
    """The most memory that the server ever had, in KiB."""
    status = Path(f"/proc/{service.process.pid}/status").read_text(encoding="utf-8")
    return int(status.partition("VmHWM:")[2].split()[0])
