"""What a test is: one sentence, something real, nothing patched."""

import ast
import re
from collections.abc import Iterator

from tests.architecture.rules import asserts, patches
from tests.architecture.tree import TESTS, Function, Module, modules

EVERY_TEST_FILE = modules(TESTS)


def _tests(module: Module) -> Iterator[Function]:
    if module.path.name.startswith("test_"):
        for name, function in module.functions():
            if name.split(".")[-1].startswith("test_"):
                yield function


def _asserting_names() -> set[str]:
    """The functions of the tests that assert themselves, by name; tests may call them instead of asserting."""
    return {
        function.name
        for module in EVERY_TEST_FILE
        for _, function in module.functions()
        if not function.name.startswith("test_") and asserts(function, set())
    }


def test_a_test_reads_as_one_sentence() -> None:
    """The docstring of a test is one sentence."""
    unclear = []
    for module, test in ((each, test) for each in EVERY_TEST_FILE for test in _tests(each)):
        sentence = " ".join((ast.get_docstring(test) or "").split())
        if not sentence.endswith((".", "?", "!")) or re.search(r"(?<!e\.g)(?<!i\.e)[.!?] +[A-Z]", sentence):
            unclear.append(f"{module.at(test)} {test.name}")
    assert not unclear


def test_a_testasserts() -> None:
    """Every test asserts something or expects an error."""
    asserting = _asserting_names()
    idle = [
        f"{module.at(test)} {test.name}"
        for module in EVERY_TEST_FILE
        for test in _tests(module)
        if not asserts(test, asserting)
    ]
    assert not idle


def test_nothing_is_patched() -> None:
    """No test replaces a part of the program; environment variables and the current folder may be set."""
    assert [module.at(node) for module in EVERY_TEST_FILE for node in patches(module)] == []
