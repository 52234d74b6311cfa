"""Bytes that no HTTP library would send."""

import socket
import time

import pytest

from tests.fuzz.attack import LEAK, Head, ask, check_alive, connect, exchange, parse, read_all
from tests.service import Service

pytestmark = pytest.mark.slow

BODY = b'{"model":"echo","messages":[{"role":"user","content":"hi"}]}'


def request(line: str, *headers: str, body: bytes = b"", key: str | None = None, close: bool = True) -> bytes:
    """One request as bytes."""
    lines = [line, "Host: localhost", *headers]
    if key is not None:
        lines.append(f"Authorization: Bearer {key}")
    if body:
        lines += [f"Content-Length: {len(body)}", "Content-Type: application/json"]
    if close:
        lines.append("Connection: close")
    return "\r\n".join([*lines, "", ""]).encode("latin-1") + body


def check_clean(answer: bytes) -> None:
    """Hold that whatever came back tells nothing about the inside, and that nobody was let in."""
    assert not LEAK.search(answer.decode("latin-1")), answer[:500]
    statuses = [int(part.split(b" ", 2)[1]) for part in answer.split(b"HTTP/1.1")[1:] if part.startswith(b" ")]
    assert all(status < 500 for status in statuses), answer[:500]


@pytest.mark.parametrize(
    "path",
    [
        "/v1/../admin/keys",
        "//admin/keys",
        "/%61dmin/keys",
        "/admin%2Fkeys",
        "/./admin/keys",
        "/admin/keys/",
        "/admin//keys",
        "/admin/./keys",
        "/health/live/../../admin/keys",
        "/metrics/%2e%2e/admin/keys",
        "/admin/keys;a=b",
        "/admin/keys%00",
        "/ADMIN/keys",
        "http://localhost/admin/keys",
        "http://elsewhere.example/admin/keys",
        "/v1/models/../../admin/keys",
        "/openai/deployments/a%2Fb/../../../admin/keys",
        "/openai/deployments/..%2f..%2fadmin%2fkeys/chat/completions",
        "/openai/v1/../../admin/keys",
        "/%ff%fe/admin/keys",
        "/admin/keys?x=/health/live",
        "/health/live?/../admin/keys",
    ],
)
@pytest.mark.parametrize("method", ["GET", "POST", "HEAD", "OPTIONS", "TRACE", "PROPFIND"])
def test_no_spelling_of_a_path_opens_the_control_plane(service: Service, user_key: str, method: str, path: str) -> None:
    """However the path is written, nobody but the owner reads or makes a key, and nothing of the inside is told."""
    for key in (None, user_key):
        answer = exchange(service, request(f"{method} {path} HTTP/1.1", key=key))
        check_clean(answer)
        assert b'"api_key"' not in answer
        assert b"last4" not in answer


@pytest.mark.parametrize(
    "header",
    [
        "X-Forwarded-For: 127.0.0.1",
        "X-Forwarded-User: admin",
        "X-Original-URL: /admin/keys",
        "X-Rewrite-URL: /admin/keys",
        "X-HTTP-Method-Override: DELETE",
        "Forwarded: for=127.0.0.1;proto=https",
        "X-Forwarded-Prefix: /admin",
        "Host: admin",
        "Host: localhost:1@elsewhere",
        "Authorization: Basic YWRtaW46YWRtaW4=",
        "Authorization:",
        "Authorization: Bearer",
        "api-key:",
        "Cookie: key=admin",
        "Upgrade: websocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: eHh4eHh4eHh4eHh4eHh4eA==",
        "Upgrade: h2c\r\nHTTP2-Settings: AAMAAABkAAQAAP__",
    ],
)
def test_no_header_stands_for_a_key(service: Service, header: str) -> None:
    """Proxies' headers, upgrades and other schemes decide nothing: without a key the answer is a 401."""
    for path in ("/admin/keys", "/v1/models"):
        answer = ask(service, request(f"GET {path} HTTP/1.1", header))
        assert answer.status == (400 if header.startswith("Host") and answer.status == 400 else 401)
        assert answer.headers.get("x-request-id") or answer.status == 400


def test_two_credentials_that_differ_are_refused(service: Service, user_key: str) -> None:
    """A second Authorization, whichever comes first, never lends its rights to the first; the same twice is fine."""
    owner, user = (f"Authorization: Bearer {key}" for key in (service.key, user_key))
    for first, second in ((owner, user), (user, owner), (owner, "Authorization: Bearer fh-x"), (owner, "api-key: no")):
        assert ask(service, request("GET /admin/keys HTTP/1.1", first, second)).status == 401
    assert ask(service, request("GET /admin/keys HTTP/1.1", owner, owner)).status == 200
    assert ask(service, request("GET /admin/keys HTTP/1.1", owner, f"api-key: {service.key}")).status == 200


@pytest.mark.parametrize(
    ("headers", "body"),
    [
        (["Transfer-Encoding: chunked"], b"zz\r\nhello\r\n0\r\n\r\n"),
        (["Transfer-Encoding: chunked"], b"-5\r\nhello\r\n0\r\n\r\n"),
        (["Transfer-Encoding: chunked"], b"fffffffffffffffff\r\nhello"),
        (["Transfer-Encoding: chunked"], b"5\r\nhel"),
        (["Transfer-Encoding: chunked", "Content-Length: 5"], b"0\r\n\r\nGET /admin/keys HTTP/1.1\r\n\r\n"),
        (["Transfer-Encoding: xchunked"], b"hello"),
        (["Content-Length: 9999"], BODY),
        (["Content-Length: 5"], BODY),
        (["Content-Length: -1"], BODY),
        (["Content-Length: 1e3"], BODY),
        (["Content-Length: 99999999999999999999999999"], BODY),
        (["Content-Length: 5", "Content-Length: 6"], BODY),
        (["Content-Length: 21000000"], b""),
        (["Bad Header: x"], b""),
        (["X: a\x00b"], b""),
        ([" folded: x"], b""),
    ],
)
def test_bodies_that_lie_end_their_connection_only(service: Service, headers: list[str], body: bytes) -> None:
    """Wrong lengths and wrong chunks cost their sender the answer, and nobody else anything."""
    head = request("POST /v1/chat/completions HTTP/1.1", *headers, key=service.key, close=False)
    answer = exchange(service, head + body)
    check_clean(answer)
    assert b'"object":"list"' not in answer, "a request hidden in a body was not answered"
    check_alive(service)


@pytest.mark.parametrize("data", [b"", b"\r\n" * 50, b"\x16\x03\x01\x02\x00\x01", b"\x00" * 5000, b"GET\r\n\r\n"])
def test_what_is_not_http_is_dropped(service: Service, data: bytes) -> None:
    """TLS, zeros and fragments end in a closed connection."""
    check_clean(exchange(service, data))
    check_alive(service)


def test_a_header_beyond_the_limit_is_refused(service: Service) -> None:
    """One endless header, or endlessly many, end the connection instead of filling the memory."""
    for flood in (b"X: " + b"a" * 1_000_000, b"".join(b"X-%d: y\r\n" % number for number in range(100_000))):
        answer = exchange(service, b"GET /v1/models HTTP/1.1\r\nHost: x\r\n" + flood + b"\r\n\r\n")
        check_clean(answer)
        assert not answer or parse(answer).status in {400, 431}
    check_alive(service)


def test_a_header_of_a_plain_size_is_taken(service: Service) -> None:
    """Sixteen kilobytes of header, which a proxy may well add, are no offence."""
    answer = ask(service, request("GET /v1/models HTTP/1.1", "X: " + "a" * 16_000, key=service.key))
    assert answer.status == 200


def test_requests_in_one_packet_are_answered_in_order(service: Service) -> None:
    """Pipelined requests get their answers one after the other, each judged by its own credential."""
    data = b"".join(
        (
            request("GET /v1/models HTTP/1.1", key=service.key, close=False),
            request("GET /admin/keys HTTP/1.1", close=False),
            request("POST /v1/chat/completions HTTP/1.1", body=BODY, key=service.key, close=False),
            request("GET /health/live HTTP/1.1"),
        )
    )
    with connect(service) as wire:
        wire.sendall(data)
        answer = read_all(wire)
    statuses = [part.split(b" ", 2)[1] for part in answer.split(b"HTTP/1.1")[1:]]
    assert statuses == [b"200", b"401", b"200", b"200"]


def test_the_first_version_of_http_is_served(service: Service) -> None:
    """A client of HTTP/1.0 gets its answer and the connection's end, streams included."""
    assert ask(service, request("GET /v1/models HTTP/1.0", key=service.key)).status == 200
    streamed = BODY[:-1] + b',"stream":true}'
    answer = ask(service, request("POST /v1/chat/completions HTTP/1.0", body=streamed, key=service.key))
    assert answer.status == 200
    assert b"[DONE]" in answer.rest


def test_a_body_is_asked_for_when_it_is_wanted(service: Service) -> None:
    """`Expect: 100-continue` is answered by 100 and then the answer; without a credential by the refusal alone."""
    head = request("POST /v1/chat/completions HTTP/1.1", "Expect: 100-continue", body=BODY, key=service.key)
    with connect(service) as wire:
        wire.sendall(head.removesuffix(BODY))
        assert wire.recv(1024).startswith(b"HTTP/1.1 100 ")
        wire.sendall(BODY)
        assert parse(read_all(wire)).status == 200
    head = request("POST /v1/chat/completions HTTP/1.1", "Expect: 100-continue", body=BODY)
    with connect(service) as wire:
        wire.sendall(head.removesuffix(BODY))
        assert wire.recv(1024).startswith(b"HTTP/1.1 401 ")


def test_slow_senders_block_nobody(service: Service) -> None:
    """A hundred bodies that never end leave the service as quick as before, and their end is noticed."""
    head = request("POST /v1/chat/completions HTTP/1.1", "Content-Length: 500", key=service.key, close=False)
    wires: list[socket.socket] = []
    for _ in range(100):
        wire = connect(service)
        wire.sendall(head + b'{"model"')
        wires.append(wire)
    started = time.monotonic()
    check_alive(service)
    assert time.monotonic() - started < 5
    for wire in wires:
        wire.close()


def test_trace_gives_nothing_back(service: Service) -> None:
    """TRACE does not repeat the request's headers, which may hold a key."""
    answer: Head = ask(service, request("TRACE /v1/models HTTP/1.1", key=service.key))
    assert answer.status == 405
    assert service.key.encode() not in answer.rest
