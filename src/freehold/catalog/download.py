"""Downloads over HTTP: resumed where they stopped, redirects followed by hand, digests verified.

What is fetched so far lies in a folder as `<sha256 of the address>.part`, with the server's validator (ETag or
Last-Modified) beside it, and outlives the process. It is used again only if the server says, by If-Range, that
the file has not changed since.
"""

import asyncio
import hashlib
import json
import os
import re
import shutil
import ssl
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import BinaryIO
from urllib.parse import urljoin, urlsplit

import aiohttp

from freehold.catalog.background import finish, in_thread
from freehold.catalog.blobs import hash_file, is_full, no_space
from freehold.catalog.sources import Report
from freehold.errors import CatalogError, DigestMismatch, SourceUnavailable
from freehold.types.model import Progress

_CHUNK = 1 << 20
_REDIRECTS = {301, 302, 303, 307, 308}
_AGAIN = {408, 425, 429, 500, 502, 503, 504}
_RANGE = re.compile(r"bytes (?:(\d+)-\d+|\*)/(\d+)")
_SHA256 = re.compile(r'(?:W/)?"?([0-9a-fA-F]{64})"?')


@dataclass(frozen=True, slots=True)
class DownloadLimits:
    """How much a download bears: failures in a row without a byte of progress, redirects, and seconds."""

    attempts: int = 6
    redirects: int = 5
    backoff_s: float = 0.5
    backoff_max_s: float = 15.0
    connect_s: float = 30.0
    silence_s: float = 60.0


@dataclass(frozen=True, slots=True)
class Address:
    """What to fetch.

    Args:
        url: where it is.
        headers: are sent to this URL's origin only, never to where a redirect leads elsewhere.
        names_digest: whether this origin's `x-linked-etag` or `ETag` is the file's SHA-256 where it looks like one.
    """

    url: str
    headers: Mapping[str, str] = field(default_factory=dict, repr=False)
    names_digest: bool = False


class _Interrupted(Exception):
    """The connection broke or the server is busy; trying again makes sense."""


@dataclass(frozen=True, slots=True)
class _Answer:
    """A response that is no redirect, and the digest that the address's origin named on the way."""

    response: aiohttp.ClientResponse
    digest: str | None


@dataclass(frozen=True, slots=True)
class _Partial:
    """What is there of a file, and the validator of the version that it is of."""

    path: Path

    @property
    def _note(self) -> Path:
        return self.path.with_suffix(".json")

    def size(self) -> int:
        return self.path.stat().st_size if self.path.exists() else 0

    def validator(self) -> str | None:
        try:
            found = json.loads(self._note.read_text(encoding="utf-8"))["validator"]
        except (OSError, ValueError, KeyError, TypeError):
            return None
        return found if isinstance(found, str) else None

    def link(self, target: Path) -> None:
        target.unlink(missing_ok=True)
        os.link(self.path, target)

    def begin(self, validator: str | None) -> None:
        self.path.parent.mkdir(parents=True, exist_ok=True)
        self.remove()
        if validator is not None:
            self._note.write_text(json.dumps({"validator": validator}), encoding="utf-8")
        self.path.touch(mode=0o600)

    def open(self) -> BinaryIO:
        return self.path.open("ab")

    def remove(self) -> None:
        self.path.unlink(missing_ok=True)
        self._note.unlink(missing_ok=True)


class Downloader:
    """Fetches files. Made in a running event loop; must be closed.

    Args:
        folder: where unfinished files are kept; no other downloader may use it at the same time.
        allow_http: whether `http://` is accepted beside `https://`.
        limits: how much to bear.
    """

    def __init__(self, folder: Path, *, allow_http: bool, limits: DownloadLimits | None = None) -> None:
        self._folder = folder
        self._schemes = {"https", "http"} if allow_http else {"https"}
        self._limits = limits or DownloadLimits()
        timeout = aiohttp.ClientTimeout(
            total=None, sock_connect=self._limits.connect_s, sock_read=self._limits.silence_s
        )
        self._session = aiohttp.ClientSession(timeout=timeout, auto_decompress=False, trust_env=True)

    async def close(self) -> None:
        """Close all connections."""
        await self._session.close()

    def forget(self) -> None:
        """Drop what is kept."""
        shutil.rmtree(self._folder, ignore_errors=True)

    async def read(self, address: Address, limit: int = 16 << 20) -> bytes:
        """A small document.

        Raises:
            SourceUnavailable: it cannot be had, or is over the limit in bytes.
        """
        failures = 0
        while True:
            try:
                answer = await self._request(address, {})
                async with answer.response:
                    if answer.response.status != 200:
                        raise SourceUnavailable(_refusal(answer.response.status, address), param="source")
                    data = await self._body(answer.response, limit)
            except (_Interrupted, aiohttp.ClientError, TimeoutError) as exc:
                failures += 1
                await self._pause(failures, address, exc)
            else:
                return data

    async def read_start(self, address: Address, length: int) -> tuple[bytes, int]:
        """The first `length` bytes of a file, all of it where it is shorter, and how long it is in all.

        Raises:
            SourceUnavailable: it cannot be had, or the server does not say how long it is.
        """
        failures = 0
        while True:
            try:
                answer = await self._request(address, {"Range": f"bytes=0-{length - 1}"})
                async with answer.response:
                    if answer.response.status not in {200, 206}:
                        raise SourceUnavailable(_refusal(answer.response.status, address), param="source")
                    found = _RANGE.fullmatch(answer.response.headers.get("content-range", ""))
                    total = int(found[2]) if found else answer.response.content_length
                    if total is None:
                        raise SourceUnavailable("The server does not say how long the file is.", param="source")
                    data = await answer.response.content.readexactly(min(length, total))
            except (_Interrupted, aiohttp.ClientError, asyncio.IncompleteReadError, TimeoutError) as exc:
                failures += 1
                await self._pause(failures, address, exc)
            else:
                return data, total

    async def fetch(self, address: Address, target: Path, report: Report, *, sha256: str | None = None) -> bool:
        """Fetch a file, going on where an earlier try stopped; False if the server has no such file (404).

        Raises:
            SourceUnavailable: the server cannot be reached, refuses, or redirects where it must not.
            DigestMismatch: the file is complete, but not the one that was pinned.
        """
        partial = _Partial(self._folder / f"{hashlib.sha256(address.url.encode()).hexdigest()}.part")
        failures, resumed = 0, partial.size() > 0
        while True:
            before = partial.size()
            try:
                answer = await self._request(address, _resume_headers(partial))
                async with answer.response:
                    if answer.response.status == 404:
                        return False
                    await self._receive(answer.response, address, partial, report)
            except (_Interrupted, aiohttp.ClientError, TimeoutError) as exc:
                failures = 1 if partial.size() > before else failures + 1
                await self._pause(failures, address, exc)
                continue
            expected = sha256 or answer.digest
            if expected is None or await _matches(partial.path, expected, report):
                break
            partial.remove()
            if not resumed:
                raise DigestMismatch(
                    f"The file's SHA-256 is not the one that was pinned ({expected}); it was discarded."
                )
            resumed = False  # what was kept may have been another version: once more from the start
        partial.link(target)
        return True

    async def _pause(self, failures: int, address: Address, exc: BaseException) -> None:
        """Wait before trying again.

        Raises:
            SourceUnavailable: it has been tried often enough.
        """
        host = urlsplit(address.url).hostname
        if isinstance(exc, ssl.SSLCertVerificationError | aiohttp.ClientConnectorCertificateError):
            raise SourceUnavailable(
                f"The certificate of {host} is not trusted by this machine.", param="source"
            ) from exc
        if failures >= self._limits.attempts:
            raise SourceUnavailable(
                f"{host} cannot be reached or breaks off; what was fetched is kept for the next pull.",
                param="source",
            ) from exc
        await asyncio.sleep(min(self._limits.backoff_s * 2 ** (failures - 1), self._limits.backoff_max_s))

    async def _request(self, address: Address, headers: Mapping[str, str]) -> _Answer:
        """Ask, following redirects; every hop's scheme is checked, and secrets stay with the address's origin."""
        url, digest = address.url, None
        for _ in range(self._limits.redirects + 1):
            self._check(url)
            here = _origin(url) == _origin(address.url)
            sent = {"Accept-Encoding": "identity", **headers, **(address.headers if here else {})}
            response = await self._session.get(url, headers=sent, allow_redirects=False)
            if address.names_digest and here:
                digest = _digest_of(response) or digest
            if response.status in _REDIRECTS and "location" in response.headers:
                response.release()
                url = _moved(url, response.headers["location"])
                continue
            if response.status in _AGAIN:
                response.release()
                raise _Interrupted(response.status)
            return _Answer(response, digest)
        raise SourceUnavailable(f"There are more than {self._limits.redirects} redirects.", param="source")

    def _check(self, url: str) -> None:
        scheme = urlsplit(url).scheme
        if scheme not in self._schemes:
            hint = "; set catalog.allow_http to accept it" if scheme == "http" else ""
            raise SourceUnavailable(f"'{scheme}://' is not fetched from{hint}.", param="source")

    async def _receive(
        self, response: aiohttp.ClientResponse, address: Address, partial: _Partial, report: Report
    ) -> None:
        """Write what comes; returns when the file is complete."""
        have = partial.size()
        found = _RANGE.fullmatch(response.headers.get("content-range", ""))
        if response.status == 416:
            if found and int(found[2]) == have:
                return
            partial.remove()
            raise _Interrupted(416)
        if response.status not in {200, 206}:
            raise SourceUnavailable(_refusal(response.status, address), param="source")
        if response.status == 206:
            if not found or found[1] is None or int(found[1]) != have:
                partial.remove()
                raise _Interrupted(206)
            total: int | None = int(found[2])
        else:
            have, total = 0, response.content_length
            partial.begin(_validator(response))
        if total is not None and total - have > shutil.disk_usage(self._folder).free:
            raise no_space()
        try:
            with partial.open() as file:
                async for chunk in response.content.iter_chunked(_CHUNK):
                    await finish(asyncio.to_thread(file.write, chunk))
                    have += len(chunk)
                    report(Progress("downloading", have, total))
        except OSError as exc:
            if is_full(exc):
                partial.remove()  # a disk that stays full would stop everything else that writes to it
            raise
        if total is not None and have != total:
            raise _Interrupted("short")

    @staticmethod
    async def _body(response: aiohttp.ClientResponse, limit: int) -> bytes:
        data = bytearray()
        async for chunk in response.content.iter_chunked(_CHUNK):
            data += chunk
            if len(data) > limit:
                raise CatalogError("The server's answer is too large.", param="source")
        return bytes(data)


def _resume_headers(partial: _Partial) -> dict[str, str]:
    """The headers that ask for the rest, if there is a beginning whose version is known."""
    have, validator = partial.size(), partial.validator()
    return {"Range": f"bytes={have}-", "If-Range": validator} if have and validator else {}


def _validator(response: aiohttp.ClientResponse) -> str | None:
    """What names this version of the file; a weak ETag cannot be used with If-Range (RFC 9110, 13.1.5)."""
    etag = response.headers.get("etag", "")
    if etag.startswith('"'):
        return etag
    return response.headers.get("last-modified")


def _digest_of(response: aiohttp.ClientResponse) -> str | None:
    """The SHA-256 that a hub names in `x-linked-etag` (large files) or `ETag`."""
    for header in ("x-linked-etag", "etag"):
        if match := _SHA256.fullmatch(response.headers.get(header, "")):
            return match[1].lower()
    return None


def _origin(url: str) -> tuple[str, str | None, int | None]:
    parts = urlsplit(url)
    return parts.scheme, parts.hostname, parts.port


def _moved(url: str, location: str) -> str:
    """Where a redirect leads.

    Raises:
        SourceUnavailable: to no address.
    """
    try:
        moved = urljoin(url, location)
        _origin(moved)
    except ValueError as exc:
        raise SourceUnavailable("The server redirects to what is no address.", param="source") from exc
    return moved


def _refusal(status: int, address: Address) -> str:
    host = urlsplit(address.url).hostname
    if status in {401, 403}:
        return f"{host} refuses access ({status}); a private model on a hub needs catalog.hf_token."
    if status == 404:
        return f"{host} has no such model (404)."
    return f"{host} answered {status}."


async def _matches(path: Path, expected: str, report: Report) -> bool:
    total = _Partial(path).size()
    found = await in_thread(
        lambda count: hash_file(path, count), lambda done: report(Progress("verifying", done, total))
    )
    return expected == found
