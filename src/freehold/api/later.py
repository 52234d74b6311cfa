"""An application that is made when it is first asked for, so that the start does not wait for it."""

import asyncio
from collections.abc import Callable
from importlib import import_module
from typing import Any

from starlette.types import ASGIApp, Receive, Scope, Send


class Later:
    """Makes an application at its first request, in a thread: the others go on meanwhile.

    Args:
        make: makes it; is called again only where it failed.
    """

    def __init__(self, make: Callable[[], ASGIApp]) -> None:
        self._make = make
        self._making: asyncio.Task[ASGIApp] | None = None
        self._app: ASGIApp | None = None

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass a request on; all that come while it is made wait for the same one, also when one of them is gone."""
        app = self._app
        if app is None:
            if self._making is None:
                self._making = asyncio.create_task(asyncio.to_thread(self._make))
                self._making.add_done_callback(self._end)
            app = await asyncio.shield(self._making)
        await app(scope, receive, send)

    def made(self) -> ASGIApp:
        """The application, made now if it was not; for who looks at its routes."""
        if self._app is None:
            self._app = self._make()
        return self._app

    def _end(self, making: "asyncio.Task[ASGIApp]") -> None:
        self._making = None
        if not making.cancelled() and making.exception() is None:
            self._app = making.result()


def named(target: str) -> Any:
    """The attribute that "module:attribute" names, imported now."""
    module, _, attribute = target.partition(":")
    return getattr(import_module(module), attribute)
