"""How the built pages are served; the files here are the tests' own."""

import asyncio
import gzip
from pathlib import Path

import httpx2
import pytest
from starlette.applications import Starlette

from freehold.web.pages import PATHS, page_routes


@pytest.fixture
def dist(tmp_path: Path) -> Path:
    (tmp_path / "assets").mkdir()
    script = b"export const words = 'the same again and again';\n" * 100
    (tmp_path / "assets" / "index-abc.js").write_bytes(script)
    (tmp_path / "assets" / "index-abc.js.gz").write_bytes(gzip.compress(script))
    (tmp_path / "index.html").write_text("<!doctype html><title>Freehold</title>", encoding="utf-8")
    (tmp_path / ".built-from").write_text("a digest", encoding="utf-8")
    return tmp_path


def ask(dist: Path, path: str, headers: dict[str, str] | None = None) -> httpx2.Response:
    """One request of an application that has only the pages."""

    async def whole() -> httpx2.Response:
        transport = httpx2.ASGITransport(app=Starlette(routes=page_routes(dist)))
        async with httpx2.AsyncClient(transport=transport, base_url="http://test") as client:
            return await client.get(path, headers=headers)

    return asyncio.run(whole())


@pytest.mark.parametrize("path", PATHS)
def test_every_path_of_the_application_shows_it(dist: Path, path: str) -> None:
    """The application reads the path itself; its policy admits no inline script and no other host."""
    answer = ask(dist, path.replace("{rest:path}", "keys/key_1").replace("{id}", "x"))
    assert (answer.status_code, "Freehold" in answer.text) == (200, True)
    policy = dict(each.strip().split(" ", 1) for each in answer.headers["content-security-policy"].split(";"))
    assert policy["default-src"] == "'none'"
    assert policy["require-trusted-types-for"] == "'script'"
    assert not any("unsafe" in value or "http" in value or "*" in value for value in policy.values())
    assert answer.headers["cache-control"] == "no-cache"


def test_a_file_is_kept_for_good_and_sent_compressed(dist: Path) -> None:
    """A file with a digest in its name is sent once, compressed where the browser takes that, and never again."""
    packed = ask(dist, "/assets/index-abc.js", {"accept-encoding": "gzip"})
    plain = ask(dist, "/assets/index-abc.js", {"accept-encoding": "identity"})
    assert packed.content == plain.content
    assert (packed.headers["content-encoding"], "content-encoding" in plain.headers) == ("gzip", False)
    assert int(packed.headers["content-length"]) < int(plain.headers["content-length"])
    assert packed.headers["content-type"].startswith("text/javascript")
    assert "immutable" in packed.headers["cache-control"]
    again = ask(dist, "/assets/index-abc.js", {"if-none-match": packed.headers["etag"]})
    assert (again.status_code, again.content) == (304, b"")


@pytest.mark.parametrize("path", ["/.built-from", "/assets/index-abc.js.gz", "/assets/..%2f.built-from", "/nothing"])
def test_nothing_else_is_served(dist: Path, path: str) -> None:
    """What is in the folder and no file of the application is not there, nor what lies outside of it."""
    assert ask(dist, path).status_code == 404


def test_without_built_pages_one_is_told_how_to_build_them(tmp_path: Path) -> None:
    """Where nothing was built the pages say what to do, and the server runs all the same."""
    answer = ask(tmp_path, "/")
    assert (answer.status_code, "make web" in answer.text) == (503, True)
