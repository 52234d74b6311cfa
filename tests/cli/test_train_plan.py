"""`freehold train plan`."""

import json
from pathlib import Path

import pytest

from freehold.training.language.recipes import shakespeare
from tests.cli.program import Program

GPT3 = ("train", "plan", "--params", "175e9", "--tokens", "300e9", "--gpus", "1024", "--gpu", "h100")


def test_gpt3_is_planned(program: Program) -> None:
    """The run of the paper has its operations, a shape, a layout that fits, days and a price."""
    found = program.json(*GPT3, "--price-hour", "2.5")
    assert found["flops"]["weights"] == pytest.approx(3.14e23, rel=0.02)
    assert found["recipe"]["model"]["layers"] == 96
    assert found["fits"]
    assert found["layout"]["replicas"] * found["layout"]["shards"] * found["layout"]["tensor"] == 1024
    assert found["cost"] == pytest.approx(2.5 * found["device_hours"])


def test_a_person_reads_tables(program: Program) -> None:
    """Without --json there are the model, the memory by its parts, the step by its parts, and what it costs."""
    told = program.fine(*GPT3, "--price-hour", "2.5")
    for part in ("12,288", "1,024 x h100", "activations", "at once, at most", "exchanges not hidden", "device-hours"):
        assert part in told


def test_a_budget_is_planned_by_each_law(program: Program) -> None:
    """A budget of operations or of money shows what the laws say, and plans one of them."""
    found = program.json("train", "plan", "--budget-flops", "1e21", "--gpus", "64")
    assert [each["law"] for each in found["optima"]] == ["ratio", "approach3", "refit"]
    assert found["flops"]["weights"] == pytest.approx(1e21, rel=0.1)
    told = program.fine("train", "plan", "--budget", "5000", "--price-hour", "2", "--gpus", "8", "--law", "refit")
    assert "arXiv 2404.10102" in told


def test_a_recipe_is_planned_by_name_or_from_a_file(program: Program, tmp_path: Path) -> None:
    """A recipe's own layout is planned, with its changes; a file is as good as a name."""
    file = tmp_path / "own.json"
    file.write_text(shakespeare(260).model_dump_json(), encoding="utf-8")
    by_name = program.json("train", "plan", "--recipe", "shakespeare", "--vocabulary", "260", "--gpu", "h100")
    assert by_name == program.json("train", "plan", "--recipe", str(file), "--gpu", "h100")
    longer = program.json("train", "plan", "--recipe", str(file), "--gpu", "h100", "--set", "training.steps=4000")
    assert longer["tokens"] == 2 * by_name["tokens"]


def test_what_does_not_fit_is_told_with_what_would(program: Program) -> None:
    """Where a model is too large for the devices, the number of them that holds it is told."""
    done = program.run("train", "plan", "--params", "175e9", "--gpus", "8")
    assert done.returncode == 0
    assert "DOES NOT FIT" in done.stdout
    assert "--gpus" in done.stderr


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        ((), "--params"),
        (("--params", "1e9", "--budget", "5"), "exclude"),
        (("--budget", "5"), "--price-hour"),
        (("--params", "-5"), "above 0"),
        (("--params", "nan"), "above 0"),
        (("--budget-flops", "1e20", "--tokens", "5"), "--params"),
        (("--params", "1e9", "--gpu", "abacus"), "abacus"),
        (("--params", "1e9", "--law", "murphy"), "murphy"),
        (("--params", "1e9", "--set", "training.steps=5"), "--recipe"),
        (("--recipe", "absent"), "absent"),
        (("--recipe", "gpt2", "--set", "training.stepps=5"), "stepps"),
        (("--recipe", "absent.json"), "absent.json"),
        (("--recipe", "gpt2", "--gpu", "h100", "--gpus", "3"), "training.batch="),
    ],
)
def test_wrong_input_is_named(program: Program, arguments: tuple[str, ...], told: str) -> None:
    """What cannot be planned is refused in a line that names it."""
    done = program.run("train", "plan", *arguments)
    assert done.returncode == 2
    assert told in done.stderr
    assert "Traceback" not in done.stderr


def test_a_file_that_is_no_recipe_is_named(program: Program, tmp_path: Path) -> None:
    """A file with a wrong value names the value's place, and one that is not JSON says so."""
    tree = json.loads(shakespeare(260).model_dump_json())
    tree["model"]["layers"] = 0
    file = tmp_path / "wrong.json"
    file.write_text(json.dumps(tree), encoding="utf-8")
    assert "model.layers" in program.refused(2, "train", "plan", "--recipe", str(file))
    file.write_text("{", encoding="utf-8")
    assert "not JSON" in program.refused(2, "train", "plan", "--recipe", str(file))
