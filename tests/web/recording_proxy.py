"""A proxy that passes requests on to a server and remembers their bodies, to see what a client sends."""

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from tests.service import Service

PASSED_ON = ("authorization", "api-key", "content-type")


class RecordingProxy:
    """What was asked of it: paths and decoded bodies, the newest last."""

    def __init__(self, url: str) -> None:
        self.url = url
        self.asked: list[tuple[str, Any]] = []


@contextmanager
def open_proxy(service: Service) -> Iterator[RecordingProxy]:
    """A proxy in front of a server, on a free port."""

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["content-length"]))
            proxy.asked.append((self.path, json.loads(body)))
            headers = {name: value for name in PASSED_ON if (value := self.headers.get(name))}
            reply = service.request("POST", self.path, body, headers=headers)
            self.send_response(reply.status)
            self.send_header("content-type", reply.headers["content-type"])
            self.send_header("content-length", str(len(reply.body)))
            self.end_headers()
            self.wfile.write(reply.body)

        def log_message(self, format: str, *args: object) -> None:  # noqa: A002 (the base class names it so)
            """Say nothing."""
            del format, args

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    proxy = RecordingProxy(f"http://127.0.0.1:{server.server_port}")
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield proxy
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
