"""The reference of recipes is what the recipes say."""

import difflib
import re

from freehold.training.language.recipes import RECIPES, LanguageRecipe, named
from tools.training_reference import PAGE, reference


def _paths(tree: object, before: str = "") -> set[str]:
    if not isinstance(tree, dict):
        return {before.rstrip(".")}
    return {path for name, value in tree.items() for path in _paths(value, f"{before}{name}.")}


def test_the_recipe_reference_is_current() -> None:
    """docs/reference/training-recipes.md is what `python -m tools.training_reference` writes now."""
    committed = PAGE.read_text(encoding="utf-8").splitlines()
    assert list(difflib.unified_diff(committed, reference().splitlines(), lineterm="", n=0)) == []


def test_every_field_of_a_recipe_is_documented() -> None:
    """The page has a row for each path that a recipe has as JSON, and for no other."""
    documented = set(re.findall(r"^\| `([a-z0-9_.]+)` \| [`rn]", PAGE.read_text(encoding="utf-8"), flags=re.MULTILINE))
    recipe: LanguageRecipe = named("gpt3", 512)
    assert documented == _paths(recipe.model_dump(mode="json"))
    assert all(f"| `{name}` |" in PAGE.read_text(encoding="utf-8") for name in RECIPES)
