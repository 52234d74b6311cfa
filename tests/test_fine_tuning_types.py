"""What fine-tuning jobs are asked for, and what their models are called."""

import re
from typing import Any

import pytest
from pydantic import ValidationError

from freehold.types.deployment import MODEL_NAME_PATTERN, NAME_PATTERN, DeploymentSettings
from freehold.types.fine_tuning import FineTuningSettings, TuningRequest, model_name

ASKED = {"model": "chat", "training_file": "file-1"}
GRADER = {"type": "string_check", "name": "same", "input": "a", "reference": "a", "operation": "eq"}


@pytest.mark.parametrize("base", ["chat", "SmolLM2-135M.Q4_1", "ft:chat:proj-default:a:0123abcd"])
@pytest.mark.parametrize("suffix", [None, "house-style", "x" * 64])
def test_names_of_models_are_names_of_deployments(base: str, suffix: str | None) -> None:
    """Whatever the base, project and suffix, the name and that of a checkpoint can be a deployment's."""
    for project in ("proj-default", "proj_" + "0" * 24):
        for step in (None, 12):
            name = model_name(base, project, suffix, "ftjob-" + "0" * 16 + "0123abcd", step=step)
            assert re.fullmatch(MODEL_NAME_PATTERN, name)
            assert not re.fullmatch(NAME_PATTERN, name)
            assert DeploymentSettings(name=name, model=name).name == name
    assert name.startswith("ft:chat:" if base.startswith("ft:") else f"ft:{base}:")


def test_the_older_form_of_hyperparameters_is_the_supervised_methods() -> None:
    """Hyperparameters beside the method mean supervised training, and nothing means all of it is found out."""
    older = TuningRequest.model_validate({**ASKED, "hyperparameters": {"n_epochs": 2}})
    newer = {"type": "supervised", "supervised": {"hyperparameters": {"n_epochs": 2}}}
    assert older.how == TuningRequest.model_validate({**ASKED, "method": newer}).how
    assert TuningRequest.model_validate(ASKED).how.hyperparameters.n_epochs == "auto"


@pytest.mark.parametrize(
    "more",
    [
        {"suffix": "two words"},
        {"suffix": ""},
        {"seed": -1},
        {"hyperparameters": {"n_epochs": 51}},
        {"hyperparameters": {"beta": 0.1}},
        {"hyperparameters": {}, "method": {"type": "supervised"}},
        {"method": {"type": "dpo", "supervised": {}}},
        {"method": {"type": "reinforcement"}},
        {"method": {"type": "reinforcement", "reinforcement": {"grader": GRADER, "hyperparameters": {"x": 1}}}},
        {"method": {"type": "dpo", "dpo": {"hyperparameters": {"beta": 3}}}},
        {"integrations": [{"type": "wandb", "wandb": {"project": "p"}}]},
        {"export": "q4_0"},
    ],
)
def test_wrong_requests_are_refused(more: dict[str, Any]) -> None:
    """A value out of range, a part of another method and what jobs cannot do are errors."""
    with pytest.raises(ValidationError):
        TuningRequest.model_validate({**ASKED, **more})


def test_trained_tokens_have_a_price() -> None:
    """The setting is the price of 1,000 tokens."""
    settings = FineTuningSettings.model_validate({"price": "0.008"})
    assert settings.price_of_tokens().cost_micro(prompt_tokens=2_500) == 20_000
    assert FineTuningSettings().price_of_tokens().cost_micro(prompt_tokens=10**9) == 0
