"""An application that is made when it is first asked for, so that the start does not wait for it."""

import asyncio
from collections.abc import Callable

from starlette.types import ASGIApp, Receive, Scope, Send


class Later:
    """Makes an application at its first request, in a thread: the others go on meanwhile.

    Args:
        make: makes it; is called once.
    """

    def __init__(self, make: Callable[[], ASGIApp]) -> None:
        self._make = make
        self._making = asyncio.Lock()
        self._app: ASGIApp | None = None

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass a request on."""
        if self._app is None:
            async with self._making:
                if self._app is None:
                    self._app = await asyncio.to_thread(self._make)
        await self._app(scope, receive, send)

    def made(self) -> ASGIApp:
        """The application, made now if it was not; for who looks at its routes."""
        if self._app is None:
            self._app = self._make()
        return self._app
