"""What a manifest claims, as the definition that the C2PA library signs.

See the C2PA specification 2.2, chapters 18 (actions, ingredients): https://spec.c2pa.org/specifications/. The agent
of an action is the model with its version. A picture that was edited or varied *opened* its parent; further pictures
that a request gave were input. Our own assertion, `freehold.picture`, holds what the specification has no word for.

It has none for unfinished work either: no action and no source type says so. A state on the way to a picture was
created like the picture; its title and the action's description, which are texts, and `unfinished` say what it is.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from freehold import __version__
from freehold.provenance.marks import source_type
from freehold.types.images import PictureFacts

PICTURE_ASSERTION = "freehold.picture"
ACTIONS_ASSERTION = "c2pa.actions.v2"
GENERATOR = "Freehold"


@dataclass(frozen=True, slots=True)
class Parent:
    """A picture that another was made from.

    Args:
        format: `png`, `jpeg` or `webp`.
        sha256: digest of its bytes, in hex.
        history: `kept` where its own manifest is carried along, `left_out` where it has one that is not, `none`.
    """

    format: str
    sha256: str
    history: str


def ingredient(parent: Parent, index: int) -> dict[str, Any]:
    """The definition of the parent at that place."""
    return {
        "title": "The picture that was changed" if index == 0 else "A further picture",
        "format": f"image/{parent.format}",
        "relationship": "parentOf" if index == 0 else "inputTo",
        "label": _label(index),
    }


def definition(facts: PictureFacts, format_name: str, parents: Sequence[Parent]) -> dict[str, Any]:
    """The manifest of a picture; parents whose history is kept are added by the signer, under the same labels."""
    bare = [ingredient(parent, index) for index, parent in enumerate(parents) if parent.history != "kept"]
    picture = {
        "request_id": facts.request_id,
        "operation": facts.operation,
        "deployment": facts.deployment,
        "model": facts.model,
        "weights_sha256": facts.weights_sha256,
        "prompt_digest": facts.prompt_digest,
        "seed": facts.seed,
        "created": facts.created,
        "parents": [{"sha256": parent.sha256, "history": parent.history} for parent in parents],
    }
    if facts.unfinished is not None:
        picture["unfinished"] = facts.unfinished
    return {
        "claim_version": 2,
        "claim_generator_info": [{"name": GENERATOR, "version": __version__}],
        "title": f"{'Picture' if facts.unfinished is None else 'Unfinished picture'} of {facts.request_id}",
        "format": f"image/{format_name}",
        "ingredients": bare,
        "assertions": [
            {"label": ACTIONS_ASSERTION, "created": True, "data": {"actions": _actions(facts, len(parents))}},
            {"label": PICTURE_ASSERTION, "created": True, "data": picture},
        ],
    }


def _actions(facts: PictureFacts, parents: int) -> list[dict[str, Any]]:
    when = datetime.fromtimestamp(facts.created, UTC).isoformat(timespec="seconds").replace("+00:00", "Z")
    made: dict[str, Any] = {
        "when": when,
        "digitalSourceType": source_type(facts),
        "softwareAgent": {"name": facts.model, "version": facts.weights_sha256},
    }
    if facts.unfinished is not None:
        made["description"] = f"Unfinished work: state {facts.unfinished} on the way to a picture"
    if parents == 0:
        return [{"action": "c2pa.created", **made}]
    opened = {"action": "c2pa.opened", "when": when, "parameters": {"ingredientIds": [_label(0)]}}
    edited: dict[str, Any] = {"action": "c2pa.edited", **made}
    if parents > 1:
        edited["parameters"] = {"ingredientIds": [_label(index) for index in range(1, parents)]}
    return [opened, edited]


def _label(index: int) -> str:
    return f"parent-{index}"
