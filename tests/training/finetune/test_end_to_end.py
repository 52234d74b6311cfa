"""From a file of examples to a model in service, through the official client and a real server: all three methods."""

import json
from collections.abc import Iterator, Mapping, Sequence
from statistics import fmean
from typing import Any

import pytest
from openai import OpenAI

from tests.conftest import StarterModels
from tests.service import Service, eventually
from tests.training.finetune.data_sets import KINDS, questions, spelling, spellings, split, tickets

pytestmark = [pytest.mark.slow, pytest.mark.finetune, pytest.mark.long]

CONFIG = """
[server]
starter = false

[fine_tuning]
python = "{python}"
threads = 2

[[deployment]]
name = "chat"
model = "smollm2-135m-instruct"
context_length = 1024
parallel = 1
content_filter = "told"

[[content_filter]]
name = "told"
hate = {{ prompt = {{ action = "annotate" }}, completion = {{ action = "annotate" }} }}
sexual = {{ prompt = {{ action = "annotate" }}, completion = {{ action = "annotate" }} }}
violence = {{ prompt = {{ action = "annotate" }}, completion = {{ action = "annotate" }} }}
self_harm = {{ prompt = {{ action = "annotate" }}, completion = {{ action = "annotate" }} }}
"""
PATIENCE_S = 1200.0
"""As long as a job may take on two cores."""
Examples = Sequence[Mapping[str, Any]]


@pytest.fixture(scope="module")
def service(python: str, starter_models: StarterModels, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    """A server that serves the starter model, and can train."""
    home = starter_models.lay(tmp_path_factory.mktemp("served") / "home")
    with Service(home, CONFIG.format(python=python)) as running:
        yield running


@pytest.fixture(scope="module")
def client(service: Service) -> OpenAI:
    """The official client of its owner."""
    return OpenAI(base_url=f"{service.url}/v1", api_key=service.key, max_retries=5, timeout=120)


class Tuned:
    """A job that ran to its end: the model that came out, and what was measured."""

    def __init__(self, client: OpenAI, service: Service, training: Examples, validation: Examples, method: Any) -> None:
        def upload(name: str, examples: Examples) -> str:
            content = "".join(json.dumps(example) + "\n" for example in examples).encode()
            return client.files.create(file=(name, content), purpose="fine-tune").id

        job = client.fine_tuning.jobs.create(
            model="chat",
            training_file=upload("training.jsonl", training),
            validation_file=upload("validation.jsonl", validation) if validation else None,
            seed=0,
            method=method,
        )

        def ended() -> bool:
            return client.fine_tuning.jobs.retrieve(job.id).status in {"succeeded", "failed", "cancelled"}

        eventually(ended, f"{job.id} ends; {service.log()[-3000:]}", PATIENCE_S)
        done = client.fine_tuning.jobs.retrieve(job.id)
        assert done.status == "succeeded", done.error
        assert done.fine_tuned_model is not None
        self.model = done.fine_tuned_model
        data = [event.data for event in client.fine_tuning.jobs.list_events(job.id) if event.type == "metrics"]
        self._steps: list[dict[str, Any]] = sorted(data, key=lambda step: step["step"])  # type: ignore[arg-type]

    def series(self, name: str) -> list[float]:
        """A metric of the job's events, over the steps at which it was measured."""
        return [step[name] for step in self._steps if step.get(name) is not None]


def answers(client: OpenAI, model: str, asked: Sequence[Any], tokens: int) -> list[str]:
    """The likeliest answers of a served model."""
    made = [
        client.chat.completions.create(model=model, messages=messages, temperature=0, max_tokens=tokens)
        for messages in asked
    ]
    return [(each.choices[0].message.content or "").strip() for each in made]


def share(right: Sequence[bool]) -> float:
    """The part of answers that are right."""
    return sum(right) / len(right)


def test_a_file_of_examples_becomes_a_better_model_in_service(
    client: OpenAI, service: Service, full_size: bool
) -> None:
    """After 200 examples the served result sorts tickets that it has not seen; its base cannot."""
    training, held_out = split(tickets(240), 200)
    method = {"type": "supervised", "supervised": {"hyperparameters": {"n_epochs": 3 if full_size else 1}}}
    tuned = Tuned(client, service, training, (), method)
    asked = [example["messages"][:-1] for example in held_out]
    kinds = [example["messages"][-1]["content"] for example in held_out]

    def accuracy(model: str) -> float:
        said = [text.lower() for text in answers(client, model, asked, 6)]
        named = [next((kind for kind in KINDS if text.startswith(kind)), None) for text in said]
        return share([kind == wanted for kind, wanted in zip(named, kinds, strict=True)])

    before, after = accuracy("chat"), accuracy(tuned.model)
    assert tuned.series("train_loss")
    assert after >= 0.8, (before, after)
    assert after >= before + 0.4, (before, after)


def test_preferences_shift_and_are_served(client: OpenAI, service: Service, full_size: bool) -> None:
    """Of held-out pairs the base prefers under 60 % as it should, the result over 80 %, and it answers so."""
    training, held_out = split(spellings(124 if full_size else 88), 100 if full_size else 64)
    numbers = {"n_epochs": 1, "learning_rate_multiplier": 4.0}
    tuned = Tuned(client, service, training, held_out, {"type": "dpo", "dpo": {"hyperparameters": numbers}})
    for name in ("valid_preference_accuracy", "valid_reward_accuracy"):
        found = tuned.series(name)
        assert found[0] < 0.6, (name, found)
        assert found[-1] > 0.8, (name, found)
    asked = [example["input"]["messages"] for example in held_out]
    words = [spelling(example) for example in held_out]

    def preferred(model: str) -> float:
        said = answers(client, model, asked, 24)
        return share([word in text for text, word in zip(said, words, strict=True)])

    before, after = preferred("chat"), preferred(tuned.model)
    assert after >= before + 0.4, (before, after)


def test_rewards_rise_and_are_served(client: OpenAI, service: Service, full_size: bool) -> None:
    """A small GRPO job raises its grader's mean, on what it trains on and on held-out questions, also when served."""
    training, held_out = split(questions(40), 24)
    likeness = {"type": "text_similarity", "input": "{{ sample.output_text }}", "evaluation_metric": "rouge_1"}
    grader = {
        "type": "multi",
        "name": "plain",
        "graders": {word: {**likeness, "name": word, "reference": word} for word in ("yes", "no")},
        "calculate_output": "max(yes, no)",
    }
    numbers: dict[str, Any] = {"n_epochs": 1, "batch_size": 2, "eval_interval": 12, "learning_rate_multiplier": 3.0}
    numbers["reasoning_effort"] = "default" if full_size else "low"
    method = {"type": "reinforcement", "reinforcement": {"grader": grader, "hyperparameters": numbers}}
    tuned = Tuned(client, service, training, held_out, method)
    rewards, third = tuned.series("train_mean_reward"), len(tuned.series("train_mean_reward")) // 3
    assert fmean(rewards[-third:]) > fmean(rewards[:third]) + 0.2, rewards
    found = tuned.series("valid_mean_reward")
    assert found[-1] > found[0] + 0.2, found

    def mean(model: str) -> float:
        said = answers(client, model, [example["messages"] for example in held_out], 128 if full_size else 32)
        run = client.fine_tuning.alpha.graders.run
        return fmean(run(grader=grader, model_sample=text).reward for text in said)  # type: ignore[arg-type]

    before, after = mean("chat"), mean(tuned.model)
    assert after > before + 0.2, (before, after)
