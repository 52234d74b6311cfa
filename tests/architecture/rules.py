"""The rules that take more than a line to find their violations."""

import ast
from collections.abc import Iterator

from tests.architecture.tree import Function, Module, dotted, imports

BROAD = {"Exception", "BaseException", "builtins.Exception", "builtins.BaseException"}


def catch_alls(module: Module) -> Iterator[tuple[str, ast.AST]]:
    """Where a module swallows every error, by function; a handler that ends in a bare `raise` swallows nothing."""
    inside = {id(node): name for name, function in module.functions() for node in ast.walk(function)}
    for node in ast.walk(module.tree):
        where = f"{module.name}:{inside.get(id(node), '')}"
        if isinstance(node, ast.ExceptHandler):
            last = node.body[-1]
            if _is_broad(node.type) and not (isinstance(last, ast.Raise) and last.exc is None):
                yield where, node
        elif isinstance(node, ast.Call) and dotted(node.func).endswith("suppress") and any(map(_is_broad, node.args)):
            yield where, node


def _is_broad(caught: ast.expr | None) -> bool:
    if caught is None:
        return True
    kinds = caught.elts if isinstance(caught, ast.Tuple) else [caught]
    return any(dotted(kind) in BROAD for kind in kinds)


CHECKS = {"pytest.raises", "pytest.fail", "pytest.warns", "raises", "fail"}


def asserts(function: Function, asserting: set[str]) -> bool:
    """Whether a function asserts, expects an error, or calls something of the tests that does."""
    for node in ast.walk(function):
        if isinstance(node, ast.Assert):
            return True
        if isinstance(node, ast.Call):
            called = dotted(node.func)
            if called in CHECKS or called.split(".")[-1] in asserting:
                return True
    return False


def patches(module: Module) -> Iterator[ast.AST]:
    """Where a test module replaces a part of the program, or imports what does that."""
    banned = {f"monkeypatch.{name}" for name in ("setattr", "delattr", "setitem", "delitem")} | {"patch", "mock.patch"}
    for name, statement in imports(module.tree):
        if name.split(".")[0] in {"mock", "pytest_mock"} or name == "unittest" or name.startswith("unittest."):
            yield statement
    for node in ast.walk(module.tree):
        if isinstance(node, ast.Call):
            called = dotted(node.func)
            if called in banned or called.startswith(("patch.", "mocker.", "mock.patch.")):
                yield node
