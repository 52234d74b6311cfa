"""`freehold filter evaluate`: the figures of labelled texts, for people and for scripts."""

import json
from pathlib import Path

import pytest
import typer
from typer.testing import CliRunner

from freehold.cli.filter_evaluate import evaluate
from freehold.content_filter.features import words_of
from freehold.errors import ConfigError
from freehold.training.content_filter.templates import sentences

app = typer.Typer()
app.command()(evaluate)


@pytest.fixture
def labelled(tmp_path: Path) -> Path:
    """A file of template sentences and of harmless ones that no training has seen."""
    rows = [{"text": text, **labels} for text, labels in sentences(7)][::9]
    rows += [{"text": f"Chapter {number} tells about gardens.", "hate": 0, "sexual": 0} for number in range(40)]
    file = tmp_path / "labelled.jsonl"
    file.write_text("\n".join(map(json.dumps, rows)), encoding="utf-8")
    return file


def test_figures_are_printed(labelled: Path) -> None:
    """A row a category with AUPRC, precision and recall, the mean, and over-blocking."""
    result = CliRunner().invoke(app, [str(labelled)])
    assert result.exit_code == 0, result.output
    lines = result.stdout.splitlines()
    assert lines[0].split() == ["CATEGORY", "TEXTS", "HARMFUL", "AUPRC", "PRECISION", "RECALL"]
    assert [line.split()[0] for line in lines[1:5]] == ["sexual", "hate", "violence", "self_harm"]
    assert "mean AUPRC of sexual, hate, violence, self_harm: " in result.stdout
    assert "over-blocking: " in result.stdout


def test_json_has_the_same_figures(labelled: Path) -> None:
    """For scripts: every figure with its interval, how many texts were trained on, and null for what is not known."""
    result = CliRunner().invoke(app, [str(labelled), "--json"])
    assert result.exit_code == 0, result.output
    told = json.loads(result.stdout)
    hate = told["categories"]["hate"]
    assert hate["auprc"]["low"] <= hate["auprc"]["value"] <= hate["auprc"]["high"]
    assert told["categories"]["harassment"]["precision"] is None
    assert told["folds"] is None
    assert told["seen_in_training"] >= 0
    assert 0 <= told["over_blocking"]["value"] <= 1


def test_texts_of_the_training_are_told(tmp_path: Path) -> None:
    """A file of texts that the weights were trained on is evaluated with a warning that says so."""
    rows = [{"text": text, **labels} for text, labels in sentences(1) if words_of(text)][:200]
    file = tmp_path / "seen.jsonl"
    file.write_text("\n".join(map(json.dumps, rows)), encoding="utf-8")
    result = CliRunner().invoke(app, [str(file)])
    assert "200 of these texts were part of the weights' training" in result.stderr


def test_what_cannot_be_read_is_refused(tmp_path: Path) -> None:
    """A file that is missing is named, and texts to train with are of no use without folds."""
    missing = CliRunner().invoke(app, [str(tmp_path / "none.jsonl")])
    assert isinstance(missing.exception, ConfigError)
    assert "none.jsonl" in missing.exception.message
    needless = CliRunner().invoke(app, [str(tmp_path / "a.jsonl"), "--with", str(tmp_path / "b.jsonl")])
    assert needless.exit_code == 2
    assert "--with and --embed need --folds" in needless.output
