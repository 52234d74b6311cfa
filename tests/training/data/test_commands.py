"""`freehold train tokenizer` and `freehold train data`, as a user types them."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from freehold.training.data.shards import CARD, TokenShards
from tests.training.data.texts import play

pytestmark = pytest.mark.torch

PATIENCE_S = 120


def freehold(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    """What a command of the program says in a folder."""
    return subprocess.run(
        [sys.executable, "-m", "freehold", "train", *arguments],
        cwd=folder,
        capture_output=True,
        text=True,
        timeout=PATIENCE_S,
        check=False,
    )


def test_from_files_to_shards(tmp_path: Path) -> None:
    """Two commands make a tokenizer and data of texts in a folder; what is wrong is told in a line."""
    (tmp_path / "texts").mkdir()
    for name in "abc":
        (tmp_path / "texts" / f"{name}.txt").write_text("\n\n".join(play(900, ord(name) + part) for part in range(9)))
    made = freehold(tmp_path, "tokenizer", "--text", "texts", "--vocabulary", "300", "--out", "tokenizer")
    assert made.returncode == 0, made.stderr
    assert "300 tokens, " in made.stdout
    options = ["--text", "texts/*.txt", "--documents", "paragraphs", "--tokenizer", "tokenizer", "--out", "data"]
    made = freehold(tmp_path, "data", *options, "--licence", "MIT", "--split", "documents")
    assert made.returncode == 0, made.stderr
    shards = TokenShards.open(tmp_path / "data", verify=True)
    assert shards.sha256 in made.stdout
    assert f"training: {shards.documents('training')} documents" in made.stdout
    card = json.loads((tmp_path / "data" / CARD).read_text())
    assert [each["licence"] for each in card["sources"]] == ["MIT"] * 3
    again = freehold(tmp_path, "data", *options, "--validation-share", "0.3")
    assert again.returncode == 2
    assert again.stderr.startswith("error: ")
    assert "has other data" in again.stderr


def test_what_is_missing_is_told(tmp_path: Path) -> None:
    """Without files, or with settings that do not go together, the command says so and makes nothing."""
    for arguments, said in [
        (["--tokenizer", "t", "--out", "data"], "give files with --text, --jsonl or --parquet"),
        (["--text", "none.txt", "--tokenizer", "t", "--out", "data"], "none.txt names no file of text"),
    ]:
        made = freehold(tmp_path, "data", *arguments)
        assert made.returncode == 2
        assert said in made.stderr
        assert len(made.stderr.splitlines()) == 1
    assert not list(tmp_path.iterdir())
    (tmp_path / "empty.txt").touch()
    made = freehold(tmp_path, "tokenizer", "--text", "empty.txt", "--out", "tokenizer")
    assert made.returncode == 2
    assert made.stderr == "error: there is no text in empty.txt\n"
    assert not (tmp_path / "tokenizer").exists()
