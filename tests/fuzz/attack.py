"""What every attack has in common: how bytes are sent, and what an answer must look like whatever was sent."""

import json
import re
import socket
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

from tests.service import ECHO_CONFIG, Reply, Service

DOOMED_CONFIG = (
    ECHO_CONFIG
    + """
[[deployment]]
name = "slow"
engine = "echo"
model = "echo"
parallel = 64
options = { delay_s = 0.02 }

[[deployment]]
name = "painter"
engine = "echo"
model = "echo"
task = "images"

[[deployment]]
name = "doomed"
engine = "echo"
model = "echo"
options = { crash_on = "crash", fail_on = "fail", delay_s = 0.05 }
"""
)
"""The echo deployment, one that takes its time, and one that dies or fails when it is asked to."""

LEAK = re.compile(r"Traceback|File \"|site-packages|\.py\b|/tmp/|/home/|/root/|Error\(|freehold\.")
"""What no answer may contain: stacks, paths and names of classes."""


def check_error(reply: Reply, *, azure: bool = False, sent: str | bytes = "") -> None:
    """Hold that an answer is an error of the caller's, in the envelope, with an id and without a leak.

    Args:
        reply: the answer.
        azure: whether it may have Azure's form.
        sent: what the caller wrote: it may be told back, whatever it is.
    """
    assert 400 <= reply.status < 500, (reply.status, reply.body[:300])
    assert re.fullmatch(r"req_[0-9a-f]{32}", reply.headers["x-request-id"])
    error = reply.json()["error"]
    assert error["message"]
    said = sent.decode("utf-8", "replace") if isinstance(sent, bytes) else sent
    leaks = [
        found for found in LEAK.findall(error["message"]) if found not in said and json.dumps(found)[1:-1] not in said
    ]
    assert not leaks, error["message"]
    if azure and error["code"] == "content_filter":
        assert error.pop("status") == reply.status
        assert error.pop("innererror")["code"] == error.pop("inner_error")["code"] == "ResponsibleAIPolicyViolation"
    assert set(error) in ({"message", "type", "param", "code"}, {"message", "code"} if azure else {None})


def check_alive(service: Service) -> None:
    """Hold that the service still answers a plain question."""
    body = {"model": "echo", "messages": [{"role": "user", "content": "still there"}]}
    reply = service.post("/v1/chat/completions", body)
    assert reply.status == 200, reply.body
    assert reply.json()["choices"][0]["message"]["content"] == "still there"


def connect(service: Service, timeout_s: float = 10.0) -> socket.socket:
    """A bare connection to the service."""
    address = urlsplit(service.url)
    return socket.create_connection((address.hostname, address.port), timeout_s)


@dataclass(frozen=True, slots=True)
class Head:
    """The status line and the headers of an answer, and what followed."""

    status: int
    headers: dict[str, str]
    rest: bytes

    def json(self) -> Any:
        """The body, decoded."""
        return json.loads(self.rest)


def exchange(service: Service, data: bytes) -> bytes:
    """Send bytes, end the sending side, and read all that comes back."""
    with connect(service) as wire:
        try:
            wire.sendall(data)
            wire.shutdown(socket.SHUT_WR)
        except OSError:
            pass  # the service hung up first, which is its right
        return read_all(wire)


def ask(service: Service, data: bytes) -> Head:
    """Send one request that asks for the connection's end, and read its answer."""
    with connect(service) as wire:
        wire.sendall(data)
        return parse(read_all(wire))


def read_all(wire: socket.socket) -> bytes:
    """Everything up to the end of the connection, or up to its reset."""
    found = b""
    try:
        while piece := wire.recv(65536):
            found += piece
    except ConnectionResetError:
        pass  # closed with bytes of ours unread
    return found


def parse(answer: bytes) -> Head:
    """An answer taken apart."""
    head, _, rest = answer.partition(b"\r\n\r\n")
    lines = head.decode("latin-1").split("\r\n")
    headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines[1:])}
    return Head(int(lines[0].split(" ")[1]), headers, rest)
