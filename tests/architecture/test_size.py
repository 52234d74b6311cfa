"""How large a file or a function may be, and what it may be called."""

from tests.architecture.allowances import LONG_FILES, LONG_FUNCTIONS, MAX_FILE_LINES, MAX_FUNCTION_LINES
from tests.architecture.tree import ROOT, SOURCE, TESTS, Module, modules

EVERY_FILE = [m for folder in (SOURCE, TESTS, ROOT / "tools", ROOT / "benchmarks") for m in modules(folder)]


def _lines(module: Module) -> int:
    return len(module.text.splitlines())


def test_a_file_is_short() -> None:
    """A file has at most 400 lines, unless an allowance gives its reason."""
    sizes = {module.name: _lines(module) for module in EVERY_FILE if module.name not in LONG_FILES}
    assert {name: size for name, size in sizes.items() if size > MAX_FILE_LINES} == {}


def test_a_function_is_short() -> None:
    """A function of the source has at most 60 lines, unless an allowance gives its reason."""
    long = [
        f"{module.at(node)} {name}: {size} lines"
        for module in EVERY_FILE
        if not module.name.startswith("tests.")
        for name, node in module.functions()
        if (size := (node.end_lineno or node.lineno) - node.lineno + 1) > MAX_FUNCTION_LINES
        and f"{module.name}:{name}" not in LONG_FUNCTIONS
    ]
    assert not long


def test_no_size_allowance_is_left_over() -> None:
    """Every allowance for size still names something that is too long, and gives a reason."""
    sizes = {m.name: _lines(m) for m in EVERY_FILE}
    sizes_of_functions = {
        f"{m.name}:{name}": (node.end_lineno or node.lineno) - node.lineno + 1
        for m in EVERY_FILE
        for name, node in m.functions()
    }
    unneeded = [name for name in LONG_FILES if sizes.get(name, 0) <= MAX_FILE_LINES]
    unneeded += [name for name in LONG_FUNCTIONS if sizes_of_functions.get(name, 0) <= MAX_FUNCTION_LINES]
    assert not unneeded
    assert all((LONG_FILES | LONG_FUNCTIONS).values())


def test_names_say_what_is_inside() -> None:
    """No file or folder is called utils, helpers, common or misc."""
    empty_names = {"util", "utils", "helper", "helpers", "common", "misc"}
    found = [m.name for m in EVERY_FILE if empty_names & {step.strip("_") for step in m.name.split(".")}]
    assert not found
