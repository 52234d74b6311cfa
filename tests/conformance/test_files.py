"""Files as the official client uploads, lists, fetches and deletes them, whole and in parts, in every dialect."""

import hashlib
from collections.abc import Iterator
from pathlib import Path

import openai
import pytest
from openai import OpenAI

from tests.conformance.echo import CONFIG
from tests.conformance.recording import Dialect, Judge, client_for
from tests.service import Service

pytestmark = pytest.mark.slow

LINES = b'{"custom_id": "1", "method": "POST", "url": "/v1/chat/completions", "body": {}}\n'


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    """A server."""
    with Service(tmp_path_factory.mktemp("home"), CONFIG) as service:
        yield service


@pytest.fixture
def client(service: Service, dialect: Dialect, judge: Judge) -> Iterator[OpenAI]:
    """The official client in each dialect."""
    with client_for(service, dialect, judge) as client:
        yield client
        for found in client.files.list():
            client.files.delete(found.id)


def test_a_file_goes_there_and_back(client: OpenAI) -> None:
    """An uploaded file is found, listed, fetched as it was, and deleted."""
    made = client.files.create(file=("lines.jsonl", LINES), purpose="batch")
    assert made.id.startswith("file-")
    assert (made.object, made.filename, made.purpose, made.bytes) == ("file", "lines.jsonl", "batch", len(LINES))
    assert made.expires_at == made.created_at + 30 * 86_400
    assert client.files.retrieve(made.id) == made
    assert client.files.content(made.id).read() == LINES
    assert [found.id for found in client.files.list(purpose="batch")] == [made.id]
    assert list(client.files.list(purpose="vision")) == []
    assert client.files.wait_for_processing(made.id).status == "processed"
    assert client.files.delete(made.id).deleted
    assert list(client.files.list()) == []


def test_what_is_not_there_is_not_found(service: Service, dialect: Dialect) -> None:
    """An id that names no file is a 404 to every operation; Azure's form of it is not OpenAI's."""
    with client_for(service, dialect, Judge(None, None)) as client:
        for ask in (client.files.retrieve, client.files.content, client.files.delete):
            with pytest.raises(openai.NotFoundError, match="No such File object: file-0"):
                ask("file-0")
        with pytest.raises(openai.NotFoundError, match="No such Upload object: upload_0"):
            client.uploads.cancel("upload_0")
        with pytest.raises(openai.NotFoundError):
            client.uploads.parts.create("upload_0", data=b"x")


def test_a_file_ends_when_it_is_asked_to(client: OpenAI) -> None:
    """`expires_after` of the form is understood, and held to its bounds."""
    made = client.files.create(
        file=("notes.txt", b"text"), purpose="user_data", expires_after={"anchor": "created_at", "seconds": 7200}
    )
    assert made.expires_at == made.created_at + 7200
    with pytest.raises(openai.BadRequestError, match="seconds") as refused:
        client.files.create(
            file=("notes.txt", b"text"), purpose="user_data", expires_after={"anchor": "created_at", "seconds": 60}
        )
    assert refused.value.param == "expires_after.seconds"


def test_files_are_listed_in_pages(client: OpenAI) -> None:
    """The client's iterator goes through all pages, in the order asked for."""
    made = [client.files.create(file=(f"{n}.txt", b"text"), purpose="user_data").id for n in range(5)]
    assert [found.id for found in client.files.list(limit=2, order="asc")] == made
    assert [found.id for found in client.files.list(limit=2)] == made[::-1]
    page = client.files.list(limit=2, after=made[3])
    assert ([found.id for found in page.data], page.has_more) == ([made[2], made[1]], True)


def test_what_cannot_be_used_is_refused(client: OpenAI) -> None:
    """The error names the file, or the parameter, and says what it should be."""
    with pytest.raises(openai.BadRequestError, match="line 1 cannot be parsed") as refused:
        client.files.create(file=("lines.jsonl", b"no json"), purpose="batch")
    assert (refused.value.param, refused.value.code) == ("file", "invalid_file_format")
    with pytest.raises(openai.BadRequestError, match="plain name"):
        client.files.create(file=("../up.txt", b"text"), purpose="user_data")
    with pytest.raises(openai.BadRequestError) as refused:
        client.files.create(file=("a.txt", b"text"), purpose="nonsense")  # type: ignore[arg-type]
    assert refused.value.param == "purpose"


def test_a_file_comes_in_parts(client: OpenAI) -> None:
    """Parts are put together in the order that is asked for, whatever the one in which they came."""
    data = LINES * 3
    upload = client.uploads.create(bytes=len(data), filename="lines.jsonl", mime_type="text/jsonl", purpose="batch")
    assert (upload.status, upload.bytes, upload.filename) == ("pending", len(data), "lines.jsonl")
    assert list(client.files.list()) == []
    last, first = (client.uploads.parts.create(upload.id, data=piece) for piece in (data[100:], data[:100]))
    assert {last.upload_id, first.upload_id} == {upload.id}
    digest = hashlib.md5(data).hexdigest()  # noqa: S324  # the operation's own checksum
    done = client.uploads.complete(upload.id, part_ids=[first.id, last.id], md5=digest)
    assert done.status == "completed"
    assert done.file is not None
    assert client.files.content(done.file.id).read() == data
    assert client.files.retrieve(done.file.id) == done.file


def test_the_client_cuts_a_file_itself(client: OpenAI, tmp_path: Path) -> None:
    """The client's own way of sending a large file works."""
    file = tmp_path / "notes.txt"
    file.write_bytes(b"0123456789" * 1000)
    done = client.uploads.upload_file_chunked(file=file, mime_type="text/plain", purpose="assistants", part_size=3333)
    assert done.file is not None
    assert client.files.content(done.file.id).read() == file.read_bytes()


def test_an_upload_is_given_up(client: OpenAI) -> None:
    """A cancelled upload takes no more parts, and leaves no file."""
    upload = client.uploads.create(bytes=4, filename="a.txt", mime_type="text/plain", purpose="assistants")
    client.uploads.parts.create(upload.id, data=b"te")
    assert client.uploads.cancel(upload.id).status == "cancelled"
    assert list(client.files.list()) == []


def test_parts_that_do_not_fit_are_refused(client: OpenAI) -> None:
    """Foreign parts, parts named twice, a wrong size or digest are named, and the upload goes on all the same."""
    upload = client.uploads.create(bytes=4, filename="a.txt", mime_type="text/plain", purpose="assistants")
    other = client.uploads.create(bytes=4, filename="b.txt", mime_type="text/plain", purpose="assistants")
    foreign = client.uploads.parts.create(other.id, data=b"text").id
    half = client.uploads.parts.create(upload.id, data=b"te").id
    with pytest.raises(openai.BadRequestError, match="begun with") as refused:
        client.uploads.parts.create(upload.id, data=b"xxx")
    assert (refused.value.param, refused.value.code) == ("data", "invalid_part")
    for parts, param in (([half, foreign], "part_ids"), ([half, half], "part_ids"), ([half], "part_ids")):
        with pytest.raises(openai.BadRequestError) as refused:
            client.uploads.complete(upload.id, part_ids=parts)
        assert refused.value.param == param
    rest = client.uploads.parts.create(upload.id, data=b"xt").id
    with pytest.raises(openai.BadRequestError, match="MD5") as refused:
        client.uploads.complete(upload.id, part_ids=[half, rest], md5="0" * 32)
    assert refused.value.code == "checksum_mismatch"
    assert client.uploads.complete(upload.id, part_ids=[half, rest]).status == "completed"
    client.uploads.cancel(other.id)
