"""What makes a training this one: a checkpoint of another is not gone on with."""

from collections.abc import Iterator, Mapping
from typing import Any, Final

from freehold.training.trainer.recipe import TrainingRecipe

MAY_DIFFER: Final = frozenset(
    {"micro_batch", "parallel", "checkpoints", "evaluate_every", "evaluate_samples", "log_every"}
)
"""What of a recipe changes nothing but rounding. So does whether it is compiled."""
MOST_TOLD: Final = 8
"""Differences that are told one by one."""


def decisive(recipe: TrainingRecipe) -> dict[str, Any]:
    """What of a recipe decides what is learnt, as JSON says it."""
    tree = recipe.model_dump(mode="json", exclude=set(MAY_DIFFER))
    tree["precision"].pop("compile")
    return tree


def difference(here: Any, there: Any) -> str | None:
    """Where two identities differ, such as "model.width is 64 there and 32 here"; None if they are equal."""
    found = list(_differences(here, there, ""))
    more = [f"and {len(found) - MOST_TOLD} more"] if len(found) > MOST_TOLD else []
    return ", ".join(found[:MOST_TOLD] + more) or None


def _differences(here: Any, there: Any, path: str) -> Iterator[str]:
    if isinstance(here, Mapping) and isinstance(there, Mapping):
        for key in [*here, *(key for key in there if key not in here)]:
            where = f"{path}.{key}" if path else str(key)
            if key in here and key in there:
                yield from _differences(here[key], there[key], where)
            else:
                yield f"{where} is only {'there' if key in there else 'here'}"
    elif here != there:
        yield f"{path or 'it'} is {there!r} there and {here!r} here"
