"""The rules find what breaks them."""

import ast
from pathlib import Path

import pytest

from tests.architecture.rules import asserts, catch_alls, patches
from tests.architecture.tree import Function, Module, imports


def module(folder: Path, text: str) -> Module:
    """A module of this text."""
    path = folder / "sample.py"
    path.write_text(text, encoding="utf-8")
    return Module(path, "freehold.sample")


@pytest.mark.parametrize(
    ("handler", "found"),
    [
        ("except Exception: pass", True),
        ("except (OSError, Exception) as exc: log(exc)", True),
        ("except BaseException: clean()", True),
        ("except: pass", True),
        ("except Exception as exc:\n        raise ValueError from exc", True),
        ("except BaseException:\n        clean()\n        raise", False),
        ("except (OSError, ValueError): pass", False),
    ],
)
def test_a_catch_all_is_found(tmp_path: Path, handler: str, found: bool) -> None:
    """A handler of every error is found with its function, unless it raises the error again."""
    text = f"def work():\n    try: run()\n    {handler}\n"
    assert [name for name, _ in catch_alls(module(tmp_path, text))] == (["freehold.sample:work"] if found else [])


def test_suppressing_everything_is_a_catch_all(tmp_path: Path) -> None:
    """`suppress(Exception)` counts like its handler, `suppress(OSError)` does not."""
    text = "with contextlib.suppress(Exception): run()\nwith suppress(OSError): run()\n"
    assert [node.lineno for _, node in catch_alls(module(tmp_path, text)) if isinstance(node, ast.Call)] == [1]


@pytest.mark.parametrize(
    ("body", "asserting"),
    [
        ("assert x", True),
        ("with pytest.raises(ValueError): run()", True),
        ("for x in y:\n        assert x", True),
        ("check_order(x)", True),
        ("run(x)", False),
    ],
)
def test_an_assertion_is_found(body: str, asserting: bool) -> None:
    """A test that asserts, itself or through a function that does, is told from one that does not."""
    function = ast.parse(f"def test_x():\n    {body}\n").body[0]
    assert isinstance(function, Function)
    assert asserts(function, {"check_order"}) is asserting


@pytest.mark.parametrize(
    ("line", "found"),
    [
        ("from unittest.mock import patch", True),
        ("import unittest.mock", True),
        ("monkeypatch.setattr(a, 'b', 1)", True),
        ("mocker.patch('a.b')", True),
        ("patch('a.b')", True),
        ("monkeypatch.setenv('A', 'b')", False),
        ("monkeypatch.chdir(folder)", False),
        ("client.patch('/v1/x')", False),
    ],
)
def test_a_patch_is_found(tmp_path: Path, line: str, found: bool) -> None:
    """Replacing a part of the program is found; setting the environment or sending PATCH is none."""
    assert bool(list(patches(module(tmp_path, line)))) is found


def test_imports_are_found_wherever_they_stand(tmp_path: Path) -> None:
    """Imports are found by full name at the top, in functions and in conditions."""
    text = "import a.b\nfrom freehold import errors\nif x:\n    from . import c\ndef f():\n    from d.e import g\n"
    assert [name for name, _ in imports(module(tmp_path, text).tree)] == ["a.b", "freehold.errors", ".", "d.e"]
