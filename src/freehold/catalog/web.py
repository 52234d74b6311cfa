"""Models on web servers and model hubs."""

import json
from pathlib import Path, PurePosixPath
from urllib.parse import quote, urljoin, urlsplit, urlunsplit

from freehold.catalog.download import Address, Downloader
from freehold.catalog.references import DEFAULT_REVISION, HubReference, checked_path
from freehold.catalog.sources import Report, Source, choose_file
from freehold.errors import SourceUnavailable


class WebSource(Source):
    """A file at a URL; the files beside it are those at the same folder's URLs.

    Args:
        url: the file's URL.
        downloader: fetches it; closed with this.
    """

    def __init__(self, url: str, downloader: Downloader) -> None:
        self._url = url
        self._downloader = downloader
        self.main = PurePosixPath(urlsplit(url).path).name or "model"

    async def get(self, name: str, target: Path, report: Report, *, sha256: str | None = None) -> bool:
        """Download a file."""
        return await self._downloader.fetch(self.address(name), target, report, sha256=sha256)

    def address(self, name: str | None = None) -> Address:
        """Where a file is; without a name, the main one."""
        if name is None or name == self.main:
            return Address(self._url)
        parts = urlsplit(urljoin(self._url, quote(checked_path(name))))
        return Address(urlunsplit((parts.scheme, parts.netloc, parts.path, urlsplit(self._url).query, "")))

    async def close(self) -> None:
        """Close the connections."""
        await self._downloader.close()

    async def done(self) -> None:
        """Drop the downloads."""
        self._downloader.forget()


class HubSource(Source):
    """A repository on a hub with the Hugging Face API.

    Args:
        reference: the repository, the revision and the file.
        endpoint: the hub's URL.
        token: a credential; sent to the hub's origin only.
        downloader: fetches the files; closed with this.
    """

    def __init__(self, reference: HubReference, endpoint: str, token: str | None, downloader: Downloader) -> None:
        self._reference = reference
        self._endpoint = endpoint.rstrip("/")
        self._headers = {"Authorization": f"Bearer {token}"} if token else {}
        self._downloader = downloader
        self._folder = ""
        self._names: set[str] | None = None

    async def open(self) -> None:
        """Ask the hub for the repository's files where the reference names none."""
        if self._reference.file is not None:
            folder, _, self.main = self._reference.file.rpartition("/")
            self._folder = f"{folder}/" if folder else ""
            return
        url = f"{self._endpoint}/api/models/{self._reference.repo}"
        if self._reference.revision != DEFAULT_REVISION:
            url += f"/revision/{quote(self._reference.revision)}"
        raw = await self._downloader.read(Address(url, self._headers))
        try:
            self._names = {str(item["rfilename"]) for item in json.loads(raw)["siblings"]}
        except (ValueError, KeyError, TypeError) as exc:
            raise SourceUnavailable("The hub's answer is not understood.", param="source") from exc
        self.main = choose_file(self._names)

    async def get(self, name: str, target: Path, report: Report, *, sha256: str | None = None) -> bool:
        """Download a file of the repository; its digest is checked against what the hub says, if it does."""
        if self._names is not None and checked_path(self._folder + name) not in self._names:
            return False
        return await self._downloader.fetch(self.address(name), target, report, sha256=sha256)

    def address(self, name: str) -> Address:
        """Where a file is."""
        path = checked_path(self._folder + name)
        url = f"{self._endpoint}/{self._reference.repo}/resolve/{quote(self._reference.revision)}/{quote(path)}"
        return Address(url, self._headers, names_digest=True)

    async def names(self) -> list[str] | None:
        """What the hub has listed."""
        return None if self._names is None else sorted(self._names)

    async def close(self) -> None:
        """Close the connections."""
        await self._downloader.close()

    async def done(self) -> None:
        """Drop the downloads."""
        self._downloader.forget()
