"""The data card of scenes: what the pictures are, where their parts come from, and what makes them again.

Lies beside the shards as `card.json` and, for people, `card.md`.
"""

import json
from collections.abc import Mapping
from importlib.metadata import version
from typing import Any, Final

from freehold.training.data.records import RecordShards
from freehold.training.data.writing import replace_file

CARD: Final = "card.json"
PAGE: Final = "card.md"
VERSIONS: Final = ("freehold", "pillow", "numpy", "torch")
"""Packages on whose versions pixels and encodings may depend."""
SOURCES: Final[Mapping[str, str]] = {
    "pictures of the objects": "Noto Color Emoji, SIL Open Font License 1.1",
    "names of the objects": "Unicode CLDR annotations, Unicode licence; and names of the project's own",
    "captions and backgrounds": "of the project's own, Apache-2.0",
    "text encoder": "all-MiniLM-L6-v2, Apache-2.0",
}
"""With their licences."""


def write_card(shards: RecordShards) -> None:
    """Write the card of shards, unless it is there.

    Raises:
        OSError: it cannot be written.
    """
    if not (shards.folder / PAGE).is_file():
        tree = _tree(shards)
        replace_file(shards.folder / CARD, (json.dumps(tree, indent=1) + "\n").encode())
        replace_file(shards.folder / PAGE, _page(tree).encode())


def _tree(shards: RecordShards) -> dict[str, Any]:
    return {
        "sha256": shards.sha256,
        "scenes": shards.facts["purpose"]["scenes"],
        "records": {split: shards.records(split) for split in shards.splits},
        "fields": [field.tree() for field in shards.fields.values()],
        "sources": dict(SOURCES),
        "objects_sha256": shards.facts["objects_sha256"],
        "text_encoder_sha256": shards.facts["text_encoder_sha256"],
        "versions": {name: version(name) for name in VERSIONS},
    }


def _page(tree: Mapping[str, Any]) -> str:
    """The card for people."""
    scenes = tree["scenes"]
    fields = [
        f"| `{each['name']}` | {each['dtype']} | {' x '.join(map(str, each['shape'])) or '1'} |"
        for each in tree["fields"]
    ]
    return "\n".join([
        "# Scenes with captions",
        "",
        "Pictures that Freehold paints itself, of emoji on colours and outdoor backgrounds, each with a sentence.",
        "There is no other picture among them, and nothing about a person.",
        "",
        f"- identity: SHA-256 `{tree['sha256']}` of the manifest",
        f"- seed: {scenes['seed']}; the same seed, objects and versions make the same scenes",
        *(f"- {split}: {count:,} captions" for split, count in tree["records"].items()),
        "- no caption of the validation is one of the training",
        f"- views of each caption: {scenes['views']}, which differ in place, size and shade",
        f"- digest of the objects' names and pictures: `{tree['objects_sha256']}`",
        f"- digest of the text encoder: `{tree['text_encoder_sha256']}`",
        f"- versions: {', '.join(f'{name} {each}' for name, each in tree['versions'].items())}",
        "",
        "| part | source and licence |",
        "|---|---|",
        *(f"| {part} | {source} |" for part, source in tree["sources"].items()),
        "",
        "| field | numbers | shape |",
        "|---|---|---|",
        *fields,
        "",
    ])  # fmt: skip
