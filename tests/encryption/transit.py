"""A key service that tests start: the two requests of a transit engine, over a real socket, with real AES-256-GCM."""

import base64
import json
import os
import threading
from contextlib import suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import TracebackType
from typing import Any, Self

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

TOKEN = "a-token-of-the-key-service"  # of this service only
KEY = "freehold"


class TransitServer:
    """Answers while the block runs.

    Attributes:
        requests: path and body of every request that came.
        answer: a status and a body to answer everything with; None for the real answers.
        wait: set to let requests that hang go on.
    """

    def __init__(self) -> None:
        self.requests: list[tuple[str, dict[str, str]]] = []
        self.answer: tuple[int, bytes] | None = None
        self.hang = False
        self.wait = threading.Event()
        self.cipher = AESGCM(os.urandom(32))
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), self._handler())
        self._thread = threading.Thread(target=self._server.serve_forever, daemon=True)

    @property
    def url(self) -> str:
        """Where the engine is mounted."""
        return f"http://127.0.0.1:{self._server.server_address[1]}/v1/transit"

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.wait.set()
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()

    def respond(self, path: str, token: str | None, body: dict[str, str]) -> tuple[int, dict[str, Any]]:
        """What the engine answers."""
        if token != TOKEN:
            return 403, {"errors": ["permission denied"]}
        associated = base64.b64decode(body["associated_data"])
        if path == f"/v1/transit/encrypt/{KEY}":
            nonce = os.urandom(12)
            sealed = nonce + self.cipher.encrypt(nonce, base64.b64decode(body["plaintext"]), associated)
            return 200, {"data": {"ciphertext": f"vault:v1:{base64.b64encode(sealed).decode()}", "key_version": 1}}
        if path == f"/v1/transit/decrypt/{KEY}":
            try:
                sealed = base64.b64decode(body["ciphertext"].removeprefix("vault:v1:"))
                plain = self.cipher.decrypt(sealed[:12], sealed[12:], associated)
            except (InvalidTag, ValueError):
                return 400, {"errors": ["invalid ciphertext"]}
            return 200, {"data": {"plaintext": base64.b64encode(plain).decode()}}
        return 404, {"errors": []}

    def _handler(self) -> type[BaseHTTPRequestHandler]:
        service = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_POST(self) -> None:  # the base class names it
                body = json.loads(self.rfile.read(int(self.headers["content-length"])))
                service.requests.append((self.path, body))
                if service.hang:
                    service.wait.wait(30)
                status, answer = service.respond(self.path, self.headers["x-vault-token"], body)
                data = json.dumps(answer).encode()
                if service.answer is not None:
                    status, data = service.answer
                self.send_response(status)
                self.send_header("content-length", str(len(data)))
                if status in {301, 307}:
                    self.send_header("location", service.url + "/elsewhere")
                with suppress(ConnectionError):  # a caller that waited no longer
                    self.end_headers()
                    self.wfile.write(data)

            def log_message(self, *_args: object) -> None:
                """Say nothing."""

        return Handler
