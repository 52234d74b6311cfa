"""What is built: the pages in the wheel, and how much of them a browser has to fetch before somebody can chat."""

import json
import re
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from freehold.web.pages import DIST, PATHS

ROOT = Path(__file__).parents[2]
MOST_BYTES = 250_000
"""Of compressed scripts, before the chat can be used."""


@pytest.mark.slow
def test_the_wheel_brings_the_pages(tmp_path: Path) -> None:
    """Whoever installs the package from its wheel has the pages, without Node and without building anything."""
    argv = [
        sys.executable,
        "-m",
        "pip",
        "wheel",
        "--no-deps",
        "--no-build-isolation",
        "--wheel-dir",
        str(tmp_path),
        ".",
    ]
    done = subprocess.run(argv, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-2000:]
    (wheel,) = tmp_path.glob("*.whl")
    with zipfile.ZipFile(wheel) as archive:
        names = {name for name in archive.namelist() if name.startswith("freehold/web/")}
        page = archive.read("freehold/web/dist/index.html").decode()
    needed = re.findall(r'(?:src|href)="/(assets/[^"]+)"', page)
    assert needed
    assert {f"freehold/web/dist/{name}" for name in needed} <= names
    assert not any("node_modules" in name for name in names)


def test_the_paths_are_those_of_the_router() -> None:
    """Server and router know the same pages."""
    source = (ROOT / "web" / "src" / "routes.ts").read_text(encoding="utf-8")
    areas = set(re.findall(r"^  '(/[a-z]*)'", source, flags=re.MULTILINE))
    assert areas == {"/" + path.split("/")[1] for path in PATHS}


def test_the_chat_is_a_light_load() -> None:
    """All scripts that the chat's page names or imports at once are at most 250 kB, compressed."""
    manifest = json.loads((DIST / "manifest.json").read_text(encoding="utf-8"))
    needed, waiting = set[str](), ["index.html", "src/chat/Page.svelte"]
    while waiting:
        name = waiting.pop()
        if name not in needed:
            needed.add(name)
            waiting += manifest[name].get("imports", [])
    scripts = [DIST / manifest[name]["file"] for name in needed]
    sizes = {
        file.name: (packed if (packed := Path(f"{file}.gz")).is_file() else file).stat().st_size for file in scripts
    }
    assert len(sizes) > 1
    assert sum(sizes.values()) <= MOST_BYTES, sizes
