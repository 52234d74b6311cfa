"""Every engine keeps the contract and takes part in the shared suite."""

import ast

import pytest

from freehold.engines.base import Engine
from freehold.engines.registry import AUTO, ENGINES, get_engine
from tests.architecture.tree import TESTS, dotted, modules


@pytest.mark.parametrize("name", sorted(ENGINES))
def test_an_engine_bears_the_name_under_which_it_is_found(name: str) -> None:
    """The registry's name leads to an engine of that name, in a file of that name."""
    engine = get_engine(name)
    assert isinstance(engine, Engine)
    assert engine.name == name
    assert type(engine).__module__ == f"freehold.engines.{name}"


def test_auto_is_one_of_the_engines() -> None:
    """`engine = "auto"` stands for an engine that exists."""
    assert AUTO in ENGINES
    assert get_engine("auto").name == AUTO


def test_every_engine_takes_part_in_the_shared_suite() -> None:
    """The shared suites in tests/engines/, of engines that write and of those that paint, have every engine."""
    covered = _keys("tests.engines.conftest", "FACTORIES") | _keys("tests.engines.test_pictures", "PAINTERS")
    assert set(ENGINES) - covered == set()


def _keys(module: str, name: str) -> set[object]:
    """The keys of a dictionary that a module of the tests defines."""
    (suite,) = [found for found in modules(TESTS) if found.name == module]
    (factories,) = [
        node.value
        for node in suite.tree.body
        if isinstance(node, ast.Assign | ast.AnnAssign) and name in map(dotted, _targets(node))
    ]
    assert isinstance(factories, ast.Dict)
    return {key.value for key in factories.keys if isinstance(key, ast.Constant)}


def _targets(node: ast.Assign | ast.AnnAssign) -> list[ast.expr]:
    return node.targets if isinstance(node, ast.Assign) else [node.target]
