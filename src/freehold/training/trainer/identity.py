"""What makes a training this one: a checkpoint of another is not gone on with."""

from collections.abc import Mapping
from typing import Any, Final

from freehold.training.trainer.recipe import TrainingRecipe

MAY_DIFFER: Final = frozenset(
    {"micro_batch", "parallel", "checkpoints", "evaluate_every", "evaluate_samples", "log_every"}
)
"""What of a recipe changes nothing but rounding. So does whether it is compiled."""


def decisive(recipe: TrainingRecipe) -> dict[str, Any]:
    """What of a recipe decides what is learnt, as JSON says it."""
    tree = recipe.model_dump(mode="json", exclude=set(MAY_DIFFER))
    tree["precision"].pop("compile")
    return tree


def difference(here: Any, there: Any, path: str = "") -> str | None:
    """Where two identities differ first, such as "model.width is 64 there and 32 here"; None if they are equal."""
    if isinstance(here, Mapping) and isinstance(there, Mapping):
        for key in [*here, *(key for key in there if key not in here)]:
            where = f"{path}.{key}" if path else str(key)
            if key not in here or key not in there:
                return f"{where} is only {'there' if key in there else 'here'}"
            if (found := difference(here[key], there[key], where)) is not None:
                return found
        return None
    return None if here == there else f"{path or 'it'} is {there!r} there and {here!r} here"
