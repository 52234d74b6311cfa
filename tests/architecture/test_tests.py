"""What a test is: one sentence, something real, nothing patched."""

import ast
import re
from collections.abc import Iterator

import pytest

from tests.architecture.tree import TESTS, Function, Module, dotted, imports, modules

CHECKS = {"pytest.raises", "pytest.fail", "pytest.warns", "raises", "fail"}
EVERY_TEST_FILE = modules(TESTS)


def _tests(module: Module) -> Iterator[Function]:
    if module.path.name.startswith("test_"):
        for name, function in module.functions():
            if name.split(".")[-1].startswith("test_"):
                yield function


def _asserts(function: Function, asserting: set[str]) -> bool:
    """Whether a function asserts, expects an error, or calls something of the tests that does."""
    for node in ast.walk(function):
        if isinstance(node, ast.Assert):
            return True
        if isinstance(node, ast.Call):
            called = dotted(node.func)
            if called in CHECKS or called.split(".")[-1] in asserting:
                return True
    return False


def _asserting_names() -> set[str]:
    """The functions of the tests that assert themselves, by name; tests may call them instead of asserting."""
    return {
        function.name
        for module in EVERY_TEST_FILE
        for _, function in module.functions()
        if not function.name.startswith("test_") and _asserts(function, set())
    }


@pytest.mark.parametrize("module", [m for m in EVERY_TEST_FILE if any(_tests(m))], ids=lambda m: m.name)
def test_a_test_reads_as_one_sentence(module: Module) -> None:
    """The docstring of a test is one sentence."""
    unclear = []
    for test in _tests(module):
        sentence = " ".join((ast.get_docstring(test) or "").split())
        if not sentence.endswith((".", "?", "!")) or re.search(r"(?<!e\.g)(?<!i\.e)[.!?] +[A-Z]", sentence):
            unclear.append(f"{module.at(test)} {test.name}")
    assert not unclear


def test_a_test_asserts() -> None:
    """Every test asserts something or expects an error."""
    asserting = _asserting_names()
    idle = [
        f"{module.at(test)} {test.name}"
        for module in EVERY_TEST_FILE
        for test in _tests(module)
        if not _asserts(test, asserting)
    ]
    assert not idle


def test_nothing_is_patched() -> None:
    """No test replaces a part of the program; environment variables and the current folder may be set."""
    banned = {f"monkeypatch.{name}" for name in ("setattr", "delattr", "setitem", "delitem")}
    found = []
    for module in EVERY_TEST_FILE:
        found += [
            module.at(node)
            for name, node in imports(module.tree)
            if name.split(".")[0] in {"mock", "pytest_mock"} or name == "unittest" or name.startswith("unittest.")
        ]
        found += [
            module.at(node)
            for node in ast.walk(module.tree)
            if isinstance(node, ast.Call) and (dotted(node.func) in banned or _is_patch(dotted(node.func)))
        ]
    assert not found


def _is_patch(called: str) -> bool:
    return called in {"patch", "mock.patch"} or called.startswith(("patch.", "mocker."))
