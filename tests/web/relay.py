"""A relay between browser and server whose connections can be cut, as a network's are."""

import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Self
from urllib.parse import urlsplit


class Relay:
    """Passes bytes on to a server, until it is cut.

    Args:
        url: of the server.
    """

    def __init__(self, url: str) -> None:
        parts = urlsplit(url)
        assert parts.hostname is not None
        assert parts.port is not None
        self._server = (parts.hostname, parts.port)
        self._door = socket.create_server((parts.hostname, 0))
        self.url = f"http://{parts.hostname}:{self._door.getsockname()[1]}"
        self._open: list[socket.socket] = []
        self._passing: list[threading.Thread] = []
        self._lock = threading.Lock()
        self._whole = True

    @classmethod
    @contextmanager
    def to(cls, url: str) -> Iterator[Self]:
        """A relay that runs."""
        relay = cls(url)
        accepting = threading.Thread(target=relay._accept)
        accepting.start()
        try:
            yield relay
        finally:
            relay._door.shutdown(socket.SHUT_RDWR)
            accepting.join()
            relay._door.close()
            relay.cut()
            for each in relay._passing:
                each.join()

    def cut(self) -> None:
        """End all connections, and take no new ones."""
        with self._lock:
            self._whole = False
            for each in self._open:
                with suppress(OSError):
                    each.shutdown(socket.SHUT_RDWR)
            self._open.clear()

    def mend(self) -> None:
        """Take connections again."""
        with self._lock:
            self._whole = True

    def _accept(self) -> None:
        with suppress(OSError):
            while True:
                client, _ = self._door.accept()
                with self._lock:
                    if not self._whole:
                        client.close()
                        continue
                    server = socket.create_connection(self._server)
                    self._open += [client, server]
                for one, other in ((client, server), (server, client)):
                    passing = threading.Thread(target=_pass_on, args=(one, other))
                    self._passing.append(passing)
                    passing.start()


def _pass_on(source: socket.socket, target: socket.socket) -> None:
    with source:
        with suppress(OSError):
            while data := source.recv(65_536):
                target.sendall(data)
        for each in (source, target):
            with suppress(OSError):
                each.shutdown(socket.SHUT_RDWR)
