"""A base that is read from GGUF reads and computes as llama.cpp does with the same file."""

import json
import subprocess
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import StarterModels
from tests.engines.llamacpp_models import ask
from tests.training.finetune.served import served

pytestmark = [pytest.mark.slow, pytest.mark.finetune]

TEXTS = (
    "12345 abc 1 2 33 3.14 1e-5",
    " x",
    "a  b\n\n c",
    "<|im_start|>user\nhi<|im_end|>\n<|endoftext|>",
    "日本語 émoji 😀\u200d👩\u200d🚀",
    "tab\t\t  nbsp\u00a0x\ufeffy",
    "it's I'LL don't",
    "    def f(x):\n\treturn x**2 # 10%\r\n",
    "½ ① ٣ Ⅷ 二十 \x00",
    "",
)
QUESTION = "<|im_start|>user\nWhat is the capital of France?<|im_end|>\n<|im_start|>assistant\n"


def read(python: str, base: Path, request: dict[str, Any]) -> dict[str, Any]:
    """What the training process makes of texts."""
    program = Path(__file__).with_name("base_program.py")
    done = subprocess.run(
        [python, str(program), str(base)], input=json.dumps(request), capture_output=True, text=True, check=True
    )
    found: dict[str, Any] = json.loads(done.stdout)
    return found


def test_the_starter_model_reads_as_llamacpp_does(python: str, starter_models: StarterModels) -> None:
    """Tokens are equal to the last one, and log-probabilities close: llama.cpp rounds what it multiplies."""
    found = read(python, starter_models.chat, {"texts": TEXTS, "question": QUESTION})
    with served(starter_models.chat) as socket:
        theirs = [
            ask(socket, "/tokenize", {"content": text, "parse_special": True, "add_special": True})["tokens"]
            for text in TEXTS
        ]
        body = {"prompt": QUESTION, "n_predict": 1, "temperature": 0, "n_probs": 5, "cache_prompt": False}
        likely = ask(socket, "/completion", body)["completion_probabilities"][0]["top_logprobs"]
    assert found["tokens"] == theirs
    assert len(likely) == 5
    assert found["logprobs"][likely[0]["id"]] == max(found["logprobs"])
    assert all(abs(found["logprobs"][each["id"]] - each["logprob"]) < 0.5 for each in likely)


def test_a_converted_model_computes_as_llamacpp_does(python: str, tiny_base: Path) -> None:
    """Of a model in float32, whose rows were put in the engine's order, log-probabilities are equal to a thousandth."""
    text = "the other thing <s>12\n"
    found = read(python, tiny_base, {"texts": [text], "question": text})
    with served(tiny_base) as socket:
        theirs = ask(socket, "/tokenize", {"content": text, "parse_special": True, "add_special": True})["tokens"]
        body = {"prompt": theirs, "n_predict": 1, "temperature": 0, "n_probs": 5, "cache_prompt": False}
        likely = ask(socket, "/completion", body)["completion_probabilities"][0]["top_logprobs"]
    assert found["tokens"] == [theirs]
    assert all(abs(found["logprobs"][each["id"]] - each["logprob"]) < 0.01 for each in likely)
