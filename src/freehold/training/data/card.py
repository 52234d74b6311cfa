"""The data card: where data came from, what was done with them, and what is needed to make them again.

Lies beside the shards as `card.json` and, for people, `card.md`; `duplicates.jsonl` names each document that was left
out because it was there before. None of them has a line of the data itself.
"""

import json
import platform
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any, Final

from freehold.training.data.duplicates import Dropped
from freehold.training.data.settings import DataSettings
from freehold.training.data.shards import CARD, PAGE
from freehold.training.data.sources import Described
from freehold.training.data.writing import replace_file

DUPLICATES: Final = "duplicates.jsonl"
VERSIONS: Final = ("freehold", "tokenizers", "pyarrow", "datasketch", "numpy")
UNKNOWN: Final = "not stated"


@dataclass(frozen=True, slots=True)
class Card:
    """What a card is made from.

    Args:
        settings: what was asked for.
        purpose: names and digests of files and tokenizer, and what decided the outcome.
        described: the source files.
        done: what became of the documents, in numbers.
        tokens: of each split.
        facts: as the manifest has them.
        sha256: of the manifest.
    """

    settings: DataSettings
    purpose: Mapping[str, Any]
    described: Sequence[Described]
    done: Mapping[str, Any]
    tokens: Mapping[str, int]
    facts: Mapping[str, Any]
    sha256: str

    def tree(self) -> dict[str, Any]:
        """The card as JSON."""
        done = self.done
        sources = [
            {**named, "bytes": found.bytes, "licence": licence(self.settings.licences, named["name"])}
            for named, found in zip(self.purpose["sources"], self.described, strict=True)
        ]
        return {
            "sha256": self.sha256,
            "sources": sources,
            "held_out": self.purpose["held_out"],
            "tokenizer": {
                "sha256": self.facts["tokenizer_sha256"],
                "vocabulary": self.facts["vocabulary"],
                "end": self.facts["end"],
            },
            "settings": self.purpose["settings"],
            "read": {"documents": done["documents"], "bytes": done["read_bytes"]},
            "left_out": {name: done[name] for name in ("empty", "broken", "exact", "near", "held_out")},
            "not_compared": done["not_compared"],
            "broken": done["named_broken"],
            "splits": {
                split: {
                    "documents": done["kept"].get(split, 0),
                    "bytes": done["kept_bytes"].get(split, 0),
                    "tokens": count,
                }
                for split, count in self.tokens.items()
            },
            "made": {
                "at": datetime.now(UTC).isoformat(timespec="seconds"),
                "seconds": round(done["seconds"], 1),
                "python": platform.python_version(),
                "versions": {name: version(name) for name in VERSIONS},
            },
        }


def licence(licences: Sequence[str], name: str) -> str:
    """The licence that was stated for a file: under its name, or else for all."""
    named = dict(each.split("=", 1) for each in licences if "=" in each)
    return named.get(name) or next((each for each in licences if "=" not in each), UNKNOWN)


def write_card(folder: Path, card: Card, dropped: Iterable[Dropped]) -> None:
    """Write the card, the page and the list of duplicates.

    Raises:
        OSError: they cannot be written.
    """
    lines = [json.dumps(asdict(each), ensure_ascii=False) + "\n" for each in dropped]
    tree = card.tree()
    replace_file(folder / DUPLICATES, "".join(lines).encode())
    replace_file(folder / PAGE, page(tree).encode())
    replace_file(folder / CARD, (json.dumps(tree, ensure_ascii=False, indent=1) + "\n").encode())


def page(tree: Mapping[str, Any]) -> str:
    """A card for people, in Markdown."""
    read, left, made = tree["read"], tree["left_out"], tree["made"]
    kept = tree["splits"]
    settings = "\n".join(f"| `{name}` | `{value}` |" for name, value in _flat(tree["settings"]))
    versions = ", ".join(f"{name} {number}" for name, number in made["versions"].items())
    broken = "".join(f"- {_cell(line)}\n" for line in tree["broken"])
    held = _files(tree["held_out"]) if tree["held_out"] else "None.\n"
    return f"""# Data card

`{tree["sha256"]}` is the SHA-256 of `manifest.json`, which has those of all files: it identifies these data.

## Sources

{_files(tree["sources"])}
## What became of them

| | documents | bytes of text | tokens |
|---|---:|---:|---:|
| read | {read["documents"]:,} | {read["bytes"]:,} | |
| left out: empty | {left["empty"]:,} | | |
| left out: broken | {left["broken"]:,} | | |
| left out: the same was there | {left["exact"]:,} | | |
| left out: a similar one was there | {left["near"]:,} | | |
| left out: held out for tests | {left["held_out"]:,} | | |
{_split(kept, "training")}
{_split(kept, "validation")}

Parts of texts that were too long to be compared: {tree["not_compared"]:,}. `{DUPLICATES}` names what was left out as
there before, and what it was the same as.
{broken and "Broken, the first of them:" + chr(10) * 2 + broken}
## Held out for tests

{held}
## How to make them again

The files above, and a tokenizer of {tree["tokenizer"]["vocabulary"]:,} tokens whose `tokenizer.json` has the SHA-256
`{tree["tokenizer"]["sha256"]}`; it lies in `tokenizer`. Settings:

| setting | value |
|---|---|
{settings}

Made {made["at"]} in {made["seconds"]:,} s with Python {made["python"]}, {versions}. The same files and settings give
the same bytes.
"""


def _files(files: Sequence[Mapping[str, Any]]) -> str:
    rows = "".join(
        f"| {_cell(each['name'])} | {each['kind']} | {each.get('bytes', '')} | {_cell(each.get('licence', ''))} "
        f"| `{each['sha256']}` |\n"
        for each in files
    )
    return f"| file | kind | bytes | licence | SHA-256 |\n|---|---|---:|---|---|\n{rows}"


def _split(kept: Mapping[str, Any], name: str) -> str:
    found = kept[name]
    return f"| kept for {name} | {found['documents']:,} | {found['bytes']:,} | {found['tokens']:,} |"


def _flat(tree: Mapping[str, Any], before: str = "") -> list[tuple[str, str]]:
    found = []
    for name, value in tree.items():
        if isinstance(value, Mapping):
            found += _flat(value, f"{before}{name}.")
        else:
            found.append((f"{before}{name}", json.dumps(value)))
    return found


def _cell(text: str) -> str:
    """A text that does not leave its cell."""
    return text.replace("\\", "\\\\").replace("|", "\\|").replace("\n", " ").replace("<", "&lt;")
