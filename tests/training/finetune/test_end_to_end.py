"""From a file of examples to a model in service, through the official client and a real server."""

import json
from pathlib import Path
from typing import Any

import pytest
from openai import OpenAI

from tests.conftest import StarterModels
from tests.service import Service, eventually
from tests.training.finetune.data_sets import KINDS, split, tickets

pytestmark = [pytest.mark.slow, pytest.mark.finetune]

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
"""
LEARNT = 200
HELD_OUT = 40
PATIENCE_S = 1200.0
"""As long as the whole may take on two cores."""


def accuracy(client: OpenAI, model: str, held_out: list[dict[str, Any]]) -> float:
    """The part of held-out tickets that a model of the server sorts right."""
    right = 0
    for example in held_out:
        made = client.chat.completions.create(
            model=model, messages=example["messages"][:-1], temperature=0, max_tokens=6
        )
        said = (made.choices[0].message.content or "").strip().lower()
        right += next((kind for kind in KINDS if said.startswith(kind)), None) == example["messages"][-1]["content"]
    return right / len(held_out)


def test_a_file_of_examples_becomes_a_better_model_in_service(
    python: str, starter_models: StarterModels, tmp_path: Path, full_size: bool
) -> None:
    """Upload, train, deploy and ask by the official client alone: the result sorts tickets that its base cannot."""
    home = starter_models.lay(tmp_path / "home")
    training, held_out = split(tickets(LEARNT + HELD_OUT), LEARNT)
    content = "".join(json.dumps(example) + "\n" for example in training).encode()
    with Service(home, CONFIG.format(python=python)) as service:
        client = OpenAI(base_url=f"{service.url}/v1", api_key=service.key, max_retries=5)
        file = client.files.create(file=("tickets.jsonl", content), purpose="fine-tune")
        job = client.fine_tuning.jobs.create(
            model="chat",
            training_file=file.id,
            suffix="tickets",
            seed=0,
            method={
                "type": "supervised",
                "supervised": {"hyperparameters": {"n_epochs": 3 if full_size else 1}},
            },
        )

        def ended() -> bool:
            return client.fine_tuning.jobs.retrieve(job.id).status in {"succeeded", "failed", "cancelled"}

        eventually(ended, f"{job.id} ends; {service.log()[-3000:]}", PATIENCE_S)
        done = client.fine_tuning.jobs.retrieve(job.id)
        assert done.status == "succeeded", done.error
        assert done.fine_tuned_model is not None
        losses = [event.data for event in client.fine_tuning.jobs.list_events(job.id) if event.type == "metrics"]
        assert losses
        before, after = accuracy(client, "chat", held_out), accuracy(client, done.fine_tuned_model, held_out)
    assert after >= 0.8
    assert after >= before + 0.4
