"""Files over HTTP: who may, what a form must be, and what is left when something goes wrong."""

import socket
import sqlite3
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from tests.api.test_kept_content import admin, make_project
from tests.api.uploads import BOUNDARY, FILES, form, upload
from tests.service import Service, eventually

pytestmark = pytest.mark.slow

CONFIG = """
[server]
starter = false

[files]
max_bytes = 4_000_000
max_project_bytes = 10_000_000

[[deployment]]
name = "echo"
engine = "echo"
model = "echo"
"""


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    """A server that takes files of 4 MB."""
    with Service(tmp_path_factory.mktemp("home"), CONFIG) as service:
        yield service


def stored(service: Service) -> tuple[int, int]:
    """How many rows of files and of pieces there are."""
    with sqlite3.connect(service.home.database, timeout=30) as database:
        return (
            database.execute("SELECT count(*) FROM kept_files").fetchone()[0],
            database.execute("SELECT count(*) FROM kept_file_pieces").fetchone()[0],
        )


def test_a_file_is_its_projects(service: Service) -> None:
    """A service account's file is there for its project, and not for another one's keys, by any method."""
    project_id, key = make_project(service, "Ours")
    _, stranger = make_project(service, "Theirs")
    made = upload(service, form(b"text"), key)
    assert made.status == 200
    path = f"{FILES}/{made.json()['id']}"
    fetched = service.get(f"{path}/content", key=key)
    assert (fetched.status, fetched.body) == (200, b"text")
    assert fetched.headers["content-type"] == "application/octet-stream"
    assert fetched.headers["content-disposition"] == "attachment; filename*=UTF-8''notes.txt"
    assert fetched.headers["x-content-type-options"] == "nosniff"
    for method, where in (("GET", path), ("GET", f"{path}/content"), ("DELETE", path)):
        reply = service.request(method, where, key=stranger)
        assert (reply.status, reply.json()["error"]["code"]) == (404, "not_found")
    assert service.get(FILES, key=stranger).json()["data"] == []
    assert service.get(path, key=service.key).status == 404, "the owner acts in another project"
    admin(service, "POST", f"/admin/projects/{project_id}/content-key/revoke")
    refused = [service.get(FILES, key=key), service.get(f"{path}/content", key=key), upload(service, form(b"x"), key)]
    assert {(each.status, each.json()["error"]["code"]) for each in refused} == {(403, "project_key_revoked")}
    admin(service, "POST", f"/admin/projects/{project_id}/content-key/restore")
    assert service.request("DELETE", path, key=key).json() == {"id": path[10:], "object": "file", "deleted": True}
    assert stored(service) == (0, 0)


def test_each_request_has_its_receipt(service: Service) -> None:
    """The receipt of an upload tells its purpose and size, never its name or content; a refused one says why."""
    made = upload(service, form(b"text of the file", "secret-name.txt"), service.key)
    service.request("DELETE", f"{FILES}/{made.json()['id']}", key=service.key)
    refused = upload(service, form(b"text", "secret-name.exe"), service.key)
    receipts = [
        service.get(f"/v1/receipts/{each.headers['x-request-id']}", key=service.key).json()["receipt"]
        for each in (made, refused)
    ]
    assert [each["parameters"] for each in receipts] == [
        {"bytes": 16, "purpose": "user_data"},
        {"bytes": 4, "purpose": "user_data"},
    ]
    assert [(each["outcome"], each.get("error_code")) for each in receipts] == [
        ("finished", None),
        ("refused", "invalid_file_format"),
    ]
    assert "secret-name" not in str(receipts)


def test_who_may_only_read_does_not_write(service: Service) -> None:
    """A key that is cut down to reading files lists and fetches, and neither uploads nor deletes."""
    made = upload(service, form(b"text"), service.key).json()
    key = admin(
        service,
        "POST",
        "/admin/keys",
        {"name": "reads", "role": "user", "scope": {"operations": ["files:read"]}},
    )["key"]
    assert [each["id"] for each in service.get(FILES, key=key).json()["data"]] == [made["id"]]
    assert service.get(f"{FILES}/{made['id']}/content", key=key).body == b"text"
    assert upload(service, form(b"text"), key).status == 403
    assert service.request("DELETE", f"{FILES}/{made['id']}", key=key).status == 403
    service.request("DELETE", f"{FILES}/{made['id']}", key=service.key)


@pytest.mark.parametrize(
    ("body", "param"),
    [
        (form(b""), "file"),
        (form(b"x" * 4_000_001), "file"),
        (form(b"MZ", "tool.exe"), "file"),
        (form(b"text", "..\\\\..\\\\windows.txt"), "file"),
        (form(b"text", purpose="other"), "purpose"),
        (form(b"text", more="x"), "more"),
        (
            form(b"text", **{"expires_after[seconds]": "x", "expires_after[anchor]": "created_at"}),
            "expires_after.seconds",
        ),
        (form(b"text").replace(b'name="file"', b'name="other"'), "other"),
        (form(b"text").replace(b'; filename="notes.txt"', b""), "file"),
    ],
)
def test_a_wrong_form_is_refused(service: Service, body: bytes, param: str) -> None:
    """What is wrong is named, and nothing of the file stays."""
    before = stored(service)
    reply = upload(service, body, service.key)
    assert (reply.status, reply.json()["error"]["param"]) == (400, param)
    assert stored(service) == before


def test_a_body_of_a_gigabyte_is_not_taken(service: Service) -> None:
    """A body that says how long it is is refused at once, one that does not as soon as it is too long."""
    declared = service.url.removeprefix("http://").split(":")
    head = (
        f"POST {FILES} HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {service.key}\r\n"
        f"Content-Type: multipart/form-data; boundary={BOUNDARY}\r\n"
    )
    with socket.create_connection((declared[0], int(declared[1])), timeout=30) as wire:
        wire.sendall(f"{head}Content-Length: 1073741824\r\n\r\n".encode())
        assert wire.recv(65536).startswith(b"HTTP/1.1 413 ")
    with socket.create_connection((declared[0], int(declared[1])), timeout=30) as wire:
        wire.sendall(f"{head}Transfer-Encoding: chunked\r\n\r\n".encode())
        piece = b"10000\r\n" + b"x" * 65536 + b"\r\n"
        start = form(b"").split(b"\r\n\r\n")[0] + b"\r\n\r\n"
        wire.sendall(b"%x\r\n%b\r\n" % (len(start), start))
        answer = b""
        try:
            for _ in range(16_384):
                wire.sendall(piece)
        except OSError:
            answer = b"broken off"
        if not answer:
            answer = wire.recv(65536)
        assert answer == b"broken off" or b" 413 " in answer
    assert stored(service) == (0, 0)


def ended(service: Service) -> int:
    """How many requests for files have ended, by the server's log."""
    return service.log().count('"route":"/v1/files"')


@pytest.mark.parametrize("sent", [0.5, 1.0])
def test_a_caller_who_leaves_leaves_nothing(service: Service, sent: float) -> None:
    """An upload whose caller goes away in the middle, or before the answer, is no file, or a whole one."""
    host, port = service.url.removeprefix("http://").split(":")
    body = form(b"x" * 3_000_000)
    head = (
        f"POST {FILES} HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {service.key}\r\n"
        f"Content-Type: multipart/form-data; boundary={BOUNDARY}\r\nContent-Length: {len(body)}\r\n\r\n"
    )
    before = ended(service)
    with socket.create_connection((host, int(port)), timeout=30) as wire:
        wire.sendall(head.encode() + body[: int(sent * len(body))])
    eventually(lambda: ended(service) > before, "the request has ended")

    def there() -> list[str]:
        return [each["id"] for each in service.get(FILES, key=service.key).json()["data"]]

    eventually(lambda: len(there()) == stored(service)[0], "what had begun to be written is written")
    left = there()
    assert (left, stored(service)) == ([], (0, 0)) or (sent == 1.0 and stored(service) == (1, 6) and len(left) == 1)
    for file_id in left:
        assert service.request("DELETE", f"{FILES}/{file_id}", key=service.key).status == 200


def test_a_projects_files_have_a_bound_together(service: Service) -> None:
    """A file beyond it is refused, and deleting makes room."""
    _, key = make_project(service, "Full")
    bodies = [form(b"x" * 3_000_000)] * 3
    made = [upload(service, body, key) for body in bodies]
    assert [each.status for each in made] == [200] * 3
    refused = upload(service, bodies[0], key)
    assert refused.json()["error"]["code"] == "file_storage_full"
    with ThreadPoolExecutor(4) as pool:
        gone: list[Any] = list(
            pool.map(lambda each: service.request("DELETE", f"{FILES}/{each.json()['id']}", key=key).status, made)
        )
    assert gone == [200] * 3
    assert stored(service) == (0, 0)
