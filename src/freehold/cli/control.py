"""How commands reach the service: over its HTTP API, wherever it runs.

One of three, tried in this order: the server that `FREEHOLD_URL` names; the server that runs on this home;
or, for administration only, the same application in this process, on a private Unix socket and without
engines. So there is one API and one implementation, with or without a running server.
"""

import json
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import aiohttp

from freehold.cli.lazy import load
from freehold.cli.output import ErrorAnswer, ServiceUnreachable
from freehold.config import Settings, key_from_environment, url_from_environment
from freehold.errors import EngineFailed, HomeError, InvalidRequest, NotFound, Unauthenticated
from freehold.store.home import Home

_CONNECT_TIMEOUT_S = 5.0
_ANSWER_TIMEOUT_S = 120.0
_SILENCE_TIMEOUT_S = 900.0
"""How long a stream may pause: a big model is fetched, converted or loaded meanwhile."""
_UNHURRIED = aiohttp.ClientTimeout(total=None, sock_connect=_CONNECT_TIMEOUT_S, sock_read=_SILENCE_TIMEOUT_S)
_LINE_LIMIT_BYTES = 8 * 1024 * 1024


@dataclass(frozen=True, slots=True)
class Target:
    """Where a service is and with which key to call it. `url` is a base; `socket` where it is a Unix socket."""

    url: str
    key: str = field(repr=False)
    socket: Path | None = None


class Control:
    """A connection to a service, as one caller."""

    def __init__(self, session: aiohttp.ClientSession, target: Target) -> None:
        self._session = session
        self._target = target

    @property
    def url(self) -> str:
        """The base of the service's addresses."""
        return self._target.url

    @property
    def target(self) -> Target:
        """Where the service is, for a client of one's own."""
        return self._target

    async def request(self, method: str, path: str, body: Any = None, *, unhurried: bool = False) -> dict[str, Any]:
        """Make one call and return the JSON object of the answer; `unhurried` waits for it as long as it takes.

        Raises:
            ErrorAnswer: the service refused or failed.
            ServiceUnreachable: it does not answer.
        """
        patience = _UNHURRIED if unhurried else aiohttp.ClientTimeout(total=_ANSWER_TIMEOUT_S)
        async with self._call(method, path, body, patience) as response:
            return _object(await response.text(), response.status)

    async def paint(self, path: str, fields: Mapping[str, Any], files: Mapping[str, bytes]) -> dict[str, Any]:
        """Have pictures painted, which may take long: with files as a form, without as JSON.

        Args:
            path: of the operation.
            fields: its parameters.
            files: pictures to work from, by the names of their parameters.

        Raises: as `request`.
        """
        body: Any = dict(fields)
        if files:
            body = aiohttp.FormData({name: str(value) for name, value in fields.items()})
            for name, data in files.items():
                body.add_field(name, data, filename=name)
        async with self._call("POST", path, body, _UNHURRIED) as response:
            return _object(await response.text(), response.status)

    async def upload(self, path: Path, purpose: str) -> dict[str, Any]:
        """Upload a file of this machine, and return what the service says of it.

        Raises: OSError where it cannot be read; else as `request`.
        """
        with path.open("rb") as file:
            body = aiohttp.FormData({"purpose": purpose})
            body.add_field("file", file, filename=path.name)
            async with self._call("POST", "/v1/files", body, _UNHURRIED) as response:
                return _object(await response.text(), response.status)

    async def stream(self, method: str, path: str, body: Any = None) -> AsyncIterator[dict[str, Any]]:
        """Make one call and yield the JSON objects of the answer as they come, one a line.

        Raises: as `request`.
        """
        async for line in self._lines(method, path, body):
            yield _event(line)

    async def events(self, path: str, body: Any) -> AsyncIterator[dict[str, Any]]:
        """Make one call whose answer is a stream of server-sent events, and yield their data up to `[DONE]`.

        Raises: as `request`.
        """
        async for line in self._lines("POST", path, body):
            name, _, value = line.partition(":")
            if name != "data":
                continue
            if value.strip() == "[DONE]":
                return
            yield _event(value)

    async def _lines(self, method: str, path: str, body: Any) -> AsyncIterator[str]:
        """The lines of an answer that are not empty."""
        async with self._call(method, path, body, _UNHURRIED) as response:
            async for raw in response.content:
                line = raw.decode("utf-8", "replace").strip()
                if line:
                    yield line

    @asynccontextmanager
    async def _call(
        self, method: str, path: str, body: Any, patience: aiohttp.ClientTimeout
    ) -> AsyncIterator[aiohttp.ClientResponse]:
        """Send a request; its answer is good. Errors of the transport become this program's."""
        url = self._target.url.rstrip("/") + path
        headers = {"Authorization": f"Bearer {self._target.key}"}
        form, told = (body, None) if isinstance(body, aiohttp.FormData) else (None, body)
        try:
            # A redirect is not followed: the key is for this server alone.
            async with self._session.request(
                method, url, data=form, json=told, headers=headers, timeout=patience, allow_redirects=False
            ) as response:
                if response.status >= 300:
                    raise _answered(response.status, await response.text())
                yield response
        except (aiohttp.ClientPayloadError, aiohttp.ServerDisconnectedError, ConnectionResetError) as exc:
            raise EngineFailed("the service broke off its answer; see the server's log") from exc
        except aiohttp.InvalidURL as exc:
            raise ServiceUnreachable(f"'{self._target.url}' is not a server's address; see FREEHOLD_URL") from exc
        except TimeoutError as exc:
            raise ServiceUnreachable(f"the service at {self._target.url} does not answer in time") from exc
        except aiohttp.ClientError as exc:
            raise ServiceUnreachable(f"cannot reach the service at {self._target.url}; is it running?") from exc


def _object(text: str, status: int) -> dict[str, Any]:
    """An answer's JSON object."""
    with suppress(ValueError):
        value = json.loads(text)
        if isinstance(value, dict):
            return value
    raise _answered(status, text)


def _event(line: str) -> dict[str, Any]:
    """One object of a stream, unless it tells an error."""
    event = _object(line, 200)
    error = event.get("error")
    if error:
        caller_is_at_fault = isinstance(error, dict) and error.get("type") == "invalid_request_error"
        raise _answered(400 if caller_is_at_fault else 500, line)
    return event


def _answered(status: int, text: str) -> ErrorAnswer:
    """The error that an answer tells of."""
    with suppress(ValueError):
        body = json.loads(text)
        error = body.get("error") if isinstance(body, dict) else None
        if isinstance(error, dict) and isinstance(error.get("message"), str):
            return ErrorAnswer(
                status, error["message"], type_name=error.get("type"), param=error.get("param"), code=error.get("code")
            )
    return ErrorAnswer(status, f"the answer (HTTP {status}) is not Freehold's; is this address a Freehold server?")


@asynccontextmanager
async def open_control(home: Path, settings: Settings | None = None) -> AsyncIterator[Control]:
    """A way to administer the service of a home, running or not.

    Args:
        home: the home whose server is called or, if none runs, opened here.
        settings: what to open it with; a running server has its own.

    Raises:
        Unauthenticated: there is no key to call with.
        HomeError: the home cannot be used.
    """
    target = await _running(home)
    if target is not None:
        async with _connect(target) as control:
            yield control
        return
    serve_here = load("freehold.cli.local:serve_here")
    async with (
        serve_here(home, settings or Settings()) as (socket, key),
        _connect(Target("http://localhost", key_from_environment() or key, socket)) as control,
    ):
        yield control


@asynccontextmanager
async def open_control_of_home(home: Path, settings: Settings) -> AsyncIterator[Control]:
    """As `open_control`, for commands that read the files of the home too.

    Raises:
        InvalidRequest: the environment names another server.
        NotFound: there is no home.
        Unauthenticated, HomeError: as `open_control`.
    """
    if url_from_environment() is not None:
        raise InvalidRequest("this reads the files of a home on this machine; unset FREEHOLD_URL, and give --home")
    files = Home(home)
    if not any(file.exists() for file in (files.database, files.journal_key, files.shared_database)):
        raise NotFound(f"there is no home in {home}; give another --home")
    async with open_control(home, settings) as control:
        yield control


@asynccontextmanager
async def open_service(home: Path) -> AsyncIterator[Control]:
    """A way to call deployments, which needs a running server.

    Raises:
        ServiceUnreachable: none runs.
        Unauthenticated: there is no key to call with.
    """
    target = await _running(home)
    if target is None:
        raise ServiceUnreachable("no server is running on this home; start one with 'freehold serve'")
    async with _connect(target) as control:
        yield control


@asynccontextmanager
async def _connect(target: Target) -> AsyncIterator[Control]:
    connector = aiohttp.UnixConnector(path=str(target.socket)) if target.socket else aiohttp.TCPConnector()
    async with aiohttp.ClientSession(
        connector=connector, read_bufsize=_LINE_LIMIT_BYTES, max_line_size=_LINE_LIMIT_BYTES
    ) as session:
        yield Control(session, target)


async def _running(home: Path) -> Target | None:
    """The server to talk to; None if none runs on this home."""
    url = url_from_environment()
    if url is not None:
        key = key_from_environment()
        if key is None:
            raise Unauthenticated("FREEHOLD_URL is set but FREEHOLD_API_KEY is not; set it to a key of that server")
        return Target(url.rstrip("/").removesuffix("/v1"), key)
    server = Home(home).server()
    if server is None or not await is_alive(server.url):
        return None
    return Target(server.url, key_from_environment() or admin_key(home))


async def is_alive(url: str) -> bool:
    """Whether a server answers there; asked without any key."""
    timeout = aiohttp.ClientTimeout(total=_CONNECT_TIMEOUT_S)
    try:
        async with aiohttp.ClientSession(timeout=timeout) as session, session.get(f"{url}/health/live") as response:
            return response.status == 200
    except (aiohttp.ClientError, TimeoutError):
        return False


def admin_key(home: Path) -> str:
    """The administrator's key, as the server keeps it.

    Raises:
        HomeError: it cannot be read.
    """
    path = Home(home).admin_key
    try:
        return path.read_text(encoding="utf-8").strip()
    except OSError as exc:
        raise HomeError(
            f"the administrator's key in {path} cannot be read ({exc.strerror}); set FREEHOLD_API_KEY"
        ) from exc
