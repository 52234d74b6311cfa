"""The verifier as auditors get it: one file, run by itself."""

import ast
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from freehold.journal import verify
from tests.journal.logs import canonical, path_of, sample_log, write_key

SOURCE = Path(verify.__file__)


@pytest.fixture
def alone(tmp_path: Path) -> Path:
    """A folder with nothing but the verifier."""
    folder = tmp_path / "alone"
    folder.mkdir()
    shutil.copy(SOURCE, folder / "verify.py")
    return folder


def run(alone: Path, *arguments: str | Path) -> "subprocess.CompletedProcess[str]":
    """Run the copy in an isolated interpreter."""
    return subprocess.run(
        [sys.executable, "-I", "verify.py", *map(str, arguments)],
        cwd=alone,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def test_it_imports_nothing_but_the_standard_library_and_cryptography() -> None:
    """An auditor needs one package, and nothing of Freehold."""
    found = set()
    for node in ast.walk(ast.parse(SOURCE.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            found |= {alias.name.split(".")[0] for alias in node.names}
        if isinstance(node, ast.ImportFrom):
            assert node.level == 0
            found.add((node.module or "").split(".")[0])
    assert found - sys.stdlib_module_names == {"cryptography"}


def test_it_runs_by_itself(alone: Path, tmp_path: Path) -> None:
    """Copied to an empty folder, it verifies a log and exits with 0."""
    log = sample_log()
    folder = log.write(tmp_path / "journal")
    key = write_key(log.key, tmp_path / "kept.pem")
    kept = tmp_path / "kept.json"
    log.request("h")
    kept.write_bytes(canonical(log.checkpoint()))
    log.write(folder)
    done = run(alone, folder, "--checkpoint", kept, "--public-key", key)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.splitlines()[0].startswith("writer 'main': 29 records (1 to 29), 9 receipts, 6 checkpoints")
    assert done.stdout.splitlines()[-1] == "verified"


def test_it_says_what_is_damaged(alone: Path, tmp_path: Path) -> None:
    """A damaged log ends with 1 and one line that names file, line, record and what was done."""
    folder = sample_log().write(tmp_path / "journal")
    lines = path_of(folder, 1).read_bytes().splitlines(keepends=True)
    path_of(folder, 1).write_bytes(b"".join(lines[:6] + lines[7:]))
    done = run(alone, folder)
    assert done.returncode == 1
    assert done.stdout.splitlines()[-1] == (
        "DAMAGED: main/00000001.jsonl, line 7, record 8: deleted: the records 7 to 7 are missing before it"
    )


def test_wrong_usage_ends_with_two(alone: Path, tmp_path: Path) -> None:
    """No path, a path that is nothing, and a key that is none end with 2 and say why."""
    folder = sample_log().write(tmp_path / "journal")
    assert run(alone).returncode == 2
    done = run(alone, tmp_path / "missing.jsonl")
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith("error: ")
    assert run(alone, folder, "--public-key", path_of(folder, 1)).returncode == 2
