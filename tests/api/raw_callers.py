"""Callers with a socket in their hands, for what no HTTP library does."""

import socket
import threading
from collections.abc import Iterator

from tests.service import PATIENCE_S

MIB = 1024 * 1024
PIECE = b"x" * (256 * 1024)


def head(*headers: str, path: str = "/limited") -> bytes:
    """The head of a request."""
    return "\r\n".join([f"POST {path} HTTP/1.1", "Host: localhost", *headers, "", ""]).encode()


def pieces(size: int, *, chunked: bool) -> Iterator[bytes]:
    """A body of so many bytes."""
    for _ in range(0, size, len(PIECE)):
        yield b"%x\r\n%b\r\n" % (len(PIECE), PIECE) if chunked else PIECE
    if chunked:
        yield b"0\r\n\r\n"


def write_then_read(caller: socket.socket, first: bytes, body: Iterator[bytes], pause_s: float = 0.0) -> bytes:
    """Send a request whole, without a look at what comes back; then read to the end, as many clients do."""
    with caller:
        caller.settimeout(PATIENCE_S)
        caller.sendall(first)
        waiting = threading.Event()
        for piece in body:
            caller.sendall(piece)
            if pause_s:
                waiting.wait(pause_s)
        return read_all(caller)


def read_all(caller: socket.socket) -> bytes:
    """All that comes until the end; a reset is an error."""
    answer = b""
    while data := caller.recv(65536):
        answer += data
    return answer


def connect(port: int) -> socket.socket:
    """A connection to the server."""
    return socket.create_connection(("127.0.0.1", port), timeout=PATIENCE_S)
