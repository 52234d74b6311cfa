"""The source tree as the architecture tests read it: files, their syntax trees and what they import."""

import ast
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property, lru_cache
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
SOURCE = ROOT / "src" / "freehold"
TESTS = ROOT / "tests"

Function = ast.FunctionDef | ast.AsyncFunctionDef


@dataclass(frozen=True)
class Module:
    """One Python file. `name` is dotted: `freehold.engines.echo`, `tests.conftest`."""

    path: Path
    name: str

    @cached_property
    def text(self) -> str:
        """Its source."""
        return self.path.read_text(encoding="utf-8")

    @cached_property
    def tree(self) -> ast.Module:
        """Its syntax tree."""
        return ast.parse(self.text, filename=str(self.path))

    @property
    def part(self) -> str:
        """The top-level package or module of freehold that it belongs to; empty for freehold itself."""
        return self.name.split(".")[1] if "." in self.name else ""

    def within(self, *names: str) -> bool:
        """Whether it is one of these modules or lies in one of these packages."""
        return any(self.name == name or self.name.startswith(f"{name}.") for name in names)

    def at(self, node: ast.AST) -> str:
        """Where a node stands, as `src/freehold/app.py:12`."""
        return f"{self.path.relative_to(ROOT)}:{getattr(node, 'lineno', 1)}"

    def functions(self) -> Iterator[tuple[str, Function]]:
        """Every function with its dotted name inside the module, methods and nested ones included."""
        yield from _functions(self.tree, "")


def _functions(node: ast.AST, prefix: str) -> Iterator[tuple[str, Function]]:
    for child in ast.iter_child_nodes(node):
        if isinstance(child, Function | ast.ClassDef):
            name = f"{prefix}{child.name}"
            if isinstance(child, Function):
                yield name, child
            yield from _functions(child, f"{name}.")
        else:
            yield from _functions(child, prefix)


@lru_cache
def modules(folder: Path) -> tuple[Module, ...]:
    """Every Python file under a folder, in order of path."""
    return tuple(
        Module(path, dotted_name(path)) for path in sorted(folder.rglob("*.py")) if "__pycache__" not in path.parts
    )


def dotted_name(path: Path) -> str:
    """The module name of a file, relative to `src/` or to the repository."""
    base = ROOT / "src" if path.is_relative_to(ROOT / "src") else ROOT
    parts = path.relative_to(base).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def imports(node: ast.AST) -> Iterator[tuple[str, ast.stmt]]:
    """Every module name that is imported under a node, with the statement.

    `from freehold import config` counts as `freehold.config`.
    """
    for found in ast.walk(node):
        if isinstance(found, ast.Import):
            for alias in found.names:
                yield alias.name, found
        elif isinstance(found, ast.ImportFrom):
            module = "." * found.level + (found.module or "")
            if module == "freehold":
                for alias in found.names:
                    yield f"freehold.{alias.name}", found
            else:
                yield module, found


def dotted(node: ast.AST) -> str:
    """A name or a chain of attributes as text, such as `os.environ`; empty for anything else."""
    if isinstance(node, ast.Name):
        return node.id
    if isinstance(node, ast.Attribute):
        base = dotted(node.value)
        return f"{base}.{node.attr}" if base else ""
    return ""
