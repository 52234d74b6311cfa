"""What the reference documents: every setting, every error, every command."""

import ast
import re
import tomllib
from collections.abc import Iterator
from importlib import import_module
from pathlib import Path
from typing import Any, get_args

import pytest
from pydantic import BaseModel
from pydantic.fields import FieldInfo

from freehold import errors
from freehold.api.dialect import Dialect, error_body
from freehold.config import Settings, load_settings
from freehold.engines.registry import ENGINES, get_engine
from tests.architecture.tree import ROOT, SOURCE, dotted, modules

REFERENCE = ROOT / "docs" / "reference"


def _page(name: str) -> str:
    return (REFERENCE / name).read_text(encoding="utf-8")


def _rows(page: str) -> list[list[str]]:
    """The rows of all tables of a page, cell by cell."""
    lines = [line for line in page.splitlines() if line.startswith("|")]
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in lines]


def _settings(model: type[BaseModel], prefix: str = "") -> Iterator[tuple[str, FieldInfo]]:
    """Every setting with its dotted key, tables and what stands in them alike."""
    for name, field in model.model_fields.items():
        key = f"{prefix}{name}"
        inner = _inner_model(field.annotation)
        if inner is None or prefix:
            yield key, field
        if inner is not None:
            yield from _settings(inner, f"{key}.")


def _inner_model(annotation: Any) -> type[BaseModel] | None:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return annotation
    return next((model for each in get_args(annotation) if (model := _inner_model(each)) is not None), None)


def _default(field: FieldInfo) -> str:
    """A setting's default as the reference writes it."""
    if field.is_required():
        return "required"
    value = field.get_default(call_default_factory=True)
    if value is None:
        return "none"
    if isinstance(value, BaseModel):
        return "see its keys"
    if isinstance(value, bool):
        return f"`{str(value).lower()}`"
    if isinstance(value, tuple) and value:
        return f"`{[str(each) for each in value]}`"
    return f'`"{value}"`' if isinstance(value, str) else f"`{value}`"


def test_a_setting_is_documented_with_its_default() -> None:
    """A setting stands in the configuration reference, with its real default and a meaning."""
    documented = {row[0]: row for row in _rows(_page("configuration.md"))}
    for key, field in _settings(Settings):
        assert f"`{key}`" in documented
        _, kind, default, meaning = documented[f"`{key}`"]
        assert default == _default(field), key
        assert kind, key
        assert meaning.endswith("."), key


def test_no_setting_is_documented_that_does_not_exist() -> None:
    """The configuration reference has no key that the configuration does not know."""
    documented = {
        row[0].strip("`") for row in _rows(_page("configuration.md")) if re.match(r"`(?!options\.)[a-z_]+\.", row[0])
    }
    assert documented == {key for key, _ in _settings(Settings) if "." in key}


@pytest.mark.parametrize("name", sorted(ENGINES))
def test_an_engines_options_are_documented(name: str) -> None:
    """The configuration reference has exactly the options that an engine knows, each with a meaning."""
    _, found, rest = _page("configuration.md").partition(f"### `{name}`\n")
    assert found
    rows = _rows(re.split(r"^##", rest, flags=re.MULTILINE)[0])
    documented = {row[0]: row[-1] for row in rows if row[0].startswith("`")}
    options = import_module(ENGINES[name].partition(":")[0]).OPTIONS
    assert documented.keys() == {f"`options.{option}`" for option in options}
    assert all(meaning.endswith(".") for meaning in documented.values())


def test_every_environment_variable_is_documented() -> None:
    """Each variable of ours that the configuration reads stands in its reference."""
    source = (SOURCE / "config.py").read_text(encoding="utf-8")
    variables = set(re.findall(r"FREEHOLD_[A-Z_]+", source))
    assert variables == set(re.findall(r"^\| `(FREEHOLD_[A-Z_]+)`", _page("configuration.md"), flags=re.MULTILINE))


def test_the_example_configuration_is_valid(tmp_path: Path) -> None:
    """The configuration reference's example is read without an error, beside a policy file, and uses every section."""
    (example,) = re.findall(r"## Example\n\n```toml\n(.*?)```", _page("configuration.md"), flags=re.DOTALL)
    file = tmp_path / "freehold.toml"
    file.write_text(example, encoding="utf-8")
    (tmp_path / "policies").mkdir()
    (tmp_path / "policies" / "team.toml").write_text('[[policy]]\nname = "eu"\nzones = ["eu"]\n', encoding="utf-8")
    settings = load_settings(file)
    assert set(tomllib.loads(example)) == set(Settings.model_fields)
    assert [deployment.name for deployment in settings.deployment] == ["assistant", "partner", "echo"]


def _examples() -> Iterator[Any]:
    """Every configuration that a how-to page shows."""
    for page in sorted((ROOT / "docs" / "how-to").glob("*.md")):
        found = re.findall(r"^```toml\n(.*?)^```", page.read_text(encoding="utf-8"), flags=re.DOTALL | re.MULTILINE)
        yield from (pytest.param(text, id=f"{page.stem}-{number}") for number, text in enumerate(found, start=1))


@pytest.mark.parametrize("example", list(_examples()))
def test_an_example_of_a_how_to_page_is_valid(example: str, tmp_path: Path) -> None:
    """A configuration that a how-to page shows is read without an error, and its engines take its options."""
    file = tmp_path / "freehold.toml"
    file.write_text(example, encoding="utf-8")
    settings = load_settings(file)
    assert set(tomllib.loads(example)) <= set(Settings.model_fields)
    for deployment in settings.deployment:
        get_engine(deployment.engine).validate(deployment)


def _error_classes(base: type[errors.FreeholdError] = errors.FreeholdError) -> Iterator[type[errors.FreeholdError]]:
    for kind in base.__subclasses__():
        if kind.__module__ == "freehold.errors":
            if kind.default_code is not None:
                yield kind
            yield from _error_classes(kind)


def _example(kind: type[errors.FreeholdError]) -> errors.FreeholdError:
    if issubclass(kind, errors.ContextLengthExceeded):
        return kind(limit=2048, requested=3000)
    if issubclass(kind, errors.ContentFiltered):
        return kind("example", results={})
    return kind("example")


@pytest.mark.parametrize("kind", list(_error_classes()), ids=lambda kind: kind.__name__)
def test_an_error_is_documented_as_it_is_answered(kind: type[errors.FreeholdError]) -> None:
    """An error stands in the reference with its status, type, code and Azure code, and with what to do."""
    rows = [row for row in _rows(_page("errors.md")) if len(row) == 6 and row[2] == f"`{kind.default_code}`"]
    (row,) = rows
    azure = error_body(_example(kind), Dialect.AZURE)["error"]
    on_azure = "same" if "type" in azure else f"`{azure['code']}`"
    assert row[:4] == [str(kind.status), f"`{kind.type}`", f"`{kind.default_code}`", on_azure]
    assert all(cell.endswith(".") for cell in row[4:])


def test_the_error_tree_is_drawn_whole() -> None:
    """The tree at the top of errors.py has every error class of the file, and no other."""
    drawn = re.findall(r"^[│├└─ ]*([A-Z][A-Za-z]+)", (errors.__doc__ or "").split("\n\n")[1], flags=re.MULTILINE)
    defined = [
        node.name
        for node in ast.parse((SOURCE / "errors.py").read_text(encoding="utf-8")).body
        if isinstance(node, ast.ClassDef)
    ]
    assert sorted(drawn) == sorted(defined)


def test_every_code_is_documented() -> None:
    """A code that is given where an error is defined or raised stands in the reference of errors."""
    page = _page("errors.md")
    codes = [(code, module.at(node)) for module in modules(SOURCE) for code, node in _codes(module.tree)]
    assert codes
    assert [found for found in codes if f"`{found[0]}`" not in page] == []


def _codes(tree: ast.Module) -> Iterator[tuple[str, ast.AST]]:
    """Every literal given as the argument `code` or the attribute `default_code`."""
    for node in ast.walk(tree):
        value = node.value if isinstance(node, ast.keyword) and node.arg == "code" else None
        if isinstance(node, ast.Assign) and any(dotted(target) == "default_code" for target in node.targets):
            value = node.value
        if isinstance(value, ast.Constant) and isinstance(value.value, str):
            yield value.value, node
