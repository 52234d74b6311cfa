"""A model that was made here says in llama.cpp what it says in PyTorch."""

import json
import subprocess
from pathlib import Path

import pytest

from freehold.catalog.convert.__main__ import convert
from freehold.config import engine_environment
from tests.engines.llamacpp_models import ask
from tests.training.finetune.driving import trainer_python
from tests.training.finetune.served import agreement, greedy, served

pytestmark = [pytest.mark.slow, pytest.mark.finetune]

PROMPTS = ("It was the best", "age of\n1859", "wörst 你好 of", "the")
TOKENS = 24
END = 2
"""The token that ends an answer."""


def test_llamacpp_continues_as_the_model_does(tmp_path: Path) -> None:
    """Texts are cut into the same tokens, and the likeliest continuations are the same token for token."""
    python = trainer_python()
    if python is None:
        pytest.skip("there is no environment with torch; make setup-train makes it")
    done = subprocess.run(
        [python, str(Path(__file__).with_name("export_program.py")), str(tmp_path)],
        input=json.dumps({"prompts": PROMPTS, "tokens": TOKENS}),
        capture_output=True,
        text=True,
        check=True,
        env=engine_environment({}),
    )
    own = json.loads(done.stdout)
    convert(tmp_path / "model", tmp_path / "model.gguf", "f32")
    with served(tmp_path / "model.gguf") as socket:
        for text, prompt, answer in zip(PROMPTS, own["prompts"], own["answers"], strict=True):
            assert ask(socket, "/tokenize", {"content": text})["tokens"] == prompt
            same, total = agreement(answer, greedy(socket, prompt, TOKENS), END)
            assert same == total, (text, answer)
