"""Write docs/reference/api-coverage.md: which operations of OpenAI's specification the running application serves.

python -m tools.api_coverage SPECIFICATION, an OpenAPI document of OpenAI's API, which is not a part of this
repository; a test holds that the committed page is current, where the document lies beside it.
"""

import asyncio
import re
import sys
import tempfile
from collections import Counter
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, Final

import yaml

from freehold.api.refused import why_refused
from freehold.app import open_app
from freehold.config import Settings, parse_settings
from tools.routes import leaves

PAGE: Final = Path(__file__).resolve().parent.parent / "docs" / "reference" / "api-coverage.md"
_METHODS: Final = ("get", "post", "put", "patch", "delete")
_PREFIX: Final = "/v1"
_PREFACE: Final = """# Operations of OpenAI's API

Every operation of OpenAI's published specification, and whether this version serves it. The page is generated from the
routes of the running application; what the served ones take, and which parameters they refuse by name, is told in
[API](api.md), [responses](responses.md), [conversations](conversations.md), [files](files.md), [batches](batches.md),
[fine-tuning](fine-tuning.md), [stored completions](stored-completions.md), [identity](identity.md) and the
[content filter](content-filter-wire.md). One that is refused is a 404 `operation_not_available` that says why; one that
is absent is a 404 `unknown_url`.
"""


def served() -> set[tuple[str, str]]:
    """Method and path, parameters without their names, of everything that the application serves under `/v1`."""
    settings = parse_settings({"server": {"starter": False}}, Settings)

    async def routes() -> set[tuple[str, str]]:
        with tempfile.TemporaryDirectory() as home:
            async with open_app(Path(home), settings, engines=False) as app:
                return {
                    (method.lower(), _shape(before + route.path).removeprefix(_PREFIX))
                    for before, route in leaves(app.asgi)
                    if (before + route.path).startswith(f"{_PREFIX}/")
                    for method in route.methods or ()
                }

    return asyncio.run(routes())


def page(specification: Mapping[str, Any], routes: Iterable[tuple[str, str]]) -> str:
    """The whole page.

    Args:
        specification: the OpenAPI document.
        routes: as `served` gives them.
    """
    known = set(routes)
    groups: dict[str, list[tuple[str, str, str]]] = {}
    for path, operations in specification["paths"].items():
        if "?" in path:
            continue  # the same operation under another header
        for method in _METHODS:
            if method in operations:
                tag = (operations[method].get("tags") or [_group(path)])[0]
                state = _state(method, path, known)
                groups.setdefault(tag, []).append((method.upper(), path, state))
    counts = Counter(state.partition(":")[0] for operations in groups.values() for _, _, state in operations)
    told = ", ".join(f"{counts[state]} {state}" for state in ("served", "refused", "absent"))
    lines = [_PREFACE, f"Of {counts.total()} operations: {told}."]
    for tag in sorted(groups, key=str.casefold):
        there = sum(state == "served" for _, _, state in groups[tag])
        lines.append(f"\n## {tag}: {there} of {len(groups[tag])}\n\n| operation | |\n|---|---|")
        lines += [f"| `{method} {path}` | {state} |" for method, path, state in groups[tag]]
    return "\n".join(lines) + "\n"


def _state(method: str, path: str, known: set[tuple[str, str]]) -> str:
    """What becomes of an operation."""
    if (method, _shape(path)) in known:
        return "served"
    why = why_refused(_PREFIX + path)
    return "absent" if why is None else f"refused: {why}"


def claims(text: str) -> set[tuple[str, str]]:
    """What a page says is served, as `served` gives it."""
    found = re.findall(r"^\| `([A-Z]+) ([^`]+)` \| served \|$", text, flags=re.MULTILINE)
    return {(method.lower(), _shape(path)) for method, path in found}


def read_specification(file: Path) -> Any:
    """The document."""
    return yaml.load(file.read_bytes(), Loader=getattr(yaml, "CSafeLoader", yaml.SafeLoader))  # noqa: S506  # both are safe


def _shape(path: str) -> str:
    return re.sub(r"\{[^}]*\}", "{}", path)


def _group(path: str) -> str:
    """What an operation without a tag is listed under."""
    return path.strip("/").partition("/")[0].replace("_", " ").capitalize()


def main() -> None:
    """Write the page."""
    if len(sys.argv) != 2:
        sys.exit("usage: python -m tools.api_coverage SPECIFICATION")
    PAGE.write_text(page(read_specification(Path(sys.argv[1])), served()), encoding="utf-8")


if __name__ == "__main__":
    main()
