"""Habits that a reader of the source may rely on."""

import ast
import re
from collections.abc import Iterator

from tests.architecture.allowances import CATCH_ALL, HEAVY, HEAVY_HOMES, PRINTING
from tests.architecture.rules import catch_alls
from tests.architecture.tree import ROOT, SOURCE, TESTS, Function, dotted, imports, modules


def test_errors_are_caught_whole_only_at_process_edges() -> None:
    """`except Exception` stands only where an allowance names the edge, and no allowance is left over."""
    found = {where: module.at(node) for module in modules(SOURCE) for where, node in catch_alls(module)}
    assert {where: at for where, at in found.items() if where not in CATCH_ALL} == {}
    assert set(CATCH_ALL) - set(found) == set()


def test_the_environment_is_read_in_one_file() -> None:
    """`os.environ` and `os.getenv` stand only in config.py."""
    names = {"os.environ", "os.getenv", "os.environb", "os.putenv"}
    readers = [
        module.at(node)
        for module in modules(SOURCE)
        if module.name != "freehold.config"
        for node in ast.walk(module.tree)
        if dotted(node) in names or (isinstance(node, ast.ImportFrom) and node.module == "os" and _takes(node, names))
    ]
    assert not readers


def _takes(node: ast.ImportFrom, names: set[str]) -> bool:
    return any(f"{node.module}.{alias.name}" in names for alias in node.names)


def test_only_the_command_line_prints() -> None:
    """`print` is called only in cli/."""
    printing = [
        module.at(node)
        for module in modules(SOURCE)
        if not module.within(*PRINTING)
        for node in ast.walk(module.tree)
        if isinstance(node, ast.Call) and dotted(node.func) in {"print", "pprint", "pprint.pprint"}
    ]
    assert not printing


def test_public_names_have_docstrings() -> None:
    """Every source module, public class and public function says what it is."""
    silent = []
    for module in modules(SOURCE):
        if module.tree.body and ast.get_docstring(module.tree) is None:
            silent.append(module.at(module.tree))
        silent += [f"{module.at(node)} {node.name}" for node in _public(module.tree) if not ast.get_docstring(node)]
    assert not silent


def _public(node: ast.Module | ast.ClassDef) -> Iterator[Function | ast.ClassDef]:
    """Public functions and classes of a module, and the public methods of those classes; none nested in a function."""
    for child in node.body:
        if isinstance(child, Function | ast.ClassDef) and not child.name.startswith("_"):
            yield child
            if isinstance(child, ast.ClassDef):
                yield from _public(child)


def test_heavy_packages_are_imported_where_they_are_used() -> None:
    """A heavy package is imported only in a file that bears its name, or where an allowance places it."""
    astray = [
        f"{module.at(node)} imports {target}"
        for module in modules(SOURCE)
        for target, node in imports(module.tree)
        if (package := target.split(".")[0]) in HEAVY
        and package not in module.name.split(".")
        and not module.within(*HEAVY_HOMES.get(package, ()))
    ]
    assert not astray


def test_nothing_is_left_to_be_done() -> None:
    """No file has a mark of unfinished work, and no function is a stub."""
    mark = re.compile(r"\b(?:TO" + r"DO|FIX" + r"ME|XX" + r"X|HA" + r"CK)\b|raise Not" + "ImplementedError")
    folders = (SOURCE, TESTS, ROOT / "tools", ROOT / "benchmarks")
    found = [
        f"{module.path.relative_to(ROOT)}:{number}"
        for folder in folders
        for module in modules(folder)
        for number, line in enumerate(module.text.splitlines(), start=1)
        if mark.search(line)
    ]
    assert not found


def test_no_file_names_a_folder_of_one_machine() -> None:
    """No committed text file names a folder of the machine on which it was written; `you` and `x` are nobody."""
    path = re.compile(
        r"(?<![\w.~$}>\])*-])/(?:" + "|".join(("ho" + "me", "ro" + "ot", "wo" + "rk")) + r")/(?!(?:you|x)\b)\w"
    )
    suffixes = {".py", ".md", ".toml", ".txt", ".yml", ".yaml", ".json", ".sh", ".ini", ".cfg", ""}
    top = [entry for entry in ROOT.iterdir() if entry.is_file()]
    folders = ("src", "tests", "docs", "tools", "benchmarks", "requirements", ".ci")
    files = top + [entry for name in folders for entry in (ROOT / name).rglob("*") if entry.is_file()]
    found = [
        f"{file.relative_to(ROOT)}:{number}"
        for file in sorted(files)
        if file.suffix in suffixes and "__pycache__" not in file.parts
        for number, line in enumerate(file.read_text(encoding="utf-8", errors="replace").splitlines(), start=1)
        if path.search(line)
    ]
    assert not found
