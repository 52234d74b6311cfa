"""A base that is read from GGUF reads and computes as llama.cpp does with the same file."""

import json
import subprocess
from pathlib import Path
from typing import Any

import pytest

from freehold.config import engine_environment
from freehold.training.finetune.protocol import ENVIRONMENT
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
ANSWERED = "<|im_start|>assistant\nHello<|im_end|>\n"
QUESTION = "<|im_start|>user\nWhat is the capital of France?<|im_end|>\n<|im_start|>assistant\n"


def read(python: str, base: Path, request: dict[str, Any]) -> dict[str, Any]:
    """What the training process makes of texts."""
    program = Path(__file__).with_name("base_program.py")
    done = subprocess.run(
        [python, str(program), str(base)],
        input=json.dumps(request),
        capture_output=True,
        text=True,
        check=True,
        env=engine_environment(ENVIRONMENT),
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


def test_only_what_the_assistant_says_is_learnt(python: str, starter_models: StarterModels) -> None:
    """Answers are learnt with the token that ends them, unless their weight is 0; all else is read."""
    asked = {"role": "user", "content": "Hi"}
    talk: list[dict[str, Any]] = [
        {"role": "system", "content": "Be kind."},
        asked,
        {"role": "assistant", "content": "Hello", "weight": 0},
        {"role": "user", "content": [{"type": "text", "text": "Again"}]},
        {"role": "assistant", "content": "Hello again"},
        asked,
        {"role": "assistant", "content": "Yes?", "weight": 1},
    ]
    whole = [{"messages": talk}, {"prompt": "2+2=", "completion": " 4"}, {"messages": [asked, talk[2] | {"weight": 1}]}]
    told, old, first = read(python, starter_models.chat, {"examples": whole})["learnt"]
    head = "<|im_start|>system\nBe kind.<|im_end|>\n<|im_start|>user\nHi<|im_end|>\n"
    assert told == [
        [False, head + ANSWERED + "<|im_start|>user\nAgain<|im_end|>\n<|im_start|>assistant\n"],
        [True, "Hello again<|im_end|>"],
        [False, "\n<|im_start|>user\nHi<|im_end|>\n<|im_start|>assistant\n"],
        [True, "Yes?<|im_end|>"],
    ]
    assert old == [[False, "2+2="], [True, " 4<|im_end|>"]]
    assert first[0][1].startswith("<|im_start|>system\nYou are a helpful AI assistant named SmolLM")
    with served(starter_models.chat) as socket:
        assert first[0][1] == ask(socket, "/apply-template", {"messages": [asked]})["prompt"]


def test_calls_and_pairs_are_written_as_they_are_served(python: str, starter_models: StarterModels) -> None:
    """Tools and calls stand as the engine's template has them, and the outputs of a pair follow their prompt."""
    function = {"name": "weather", "parameters": {"type": "object", "properties": {"city": {"type": "string"}}}}
    call = {"id": "c1", "type": "function", "function": {"name": "weather", "arguments": '{"city": "Oslo"}'}}
    talk: list[dict[str, Any]] = [{"role": "user", "content": "Weather?"}, {"role": "assistant", "tool_calls": [call]}]
    pair = {
        "input": {"messages": [{"role": "developer", "content": "Be kind."}, talk[0]]},
        "preferred_output": [{"role": "assistant", "content": "Sunny"}],
        "non_preferred_output": [{"role": "assistant", "content": "Go away"}],
    }
    request = {"examples": [{"messages": talk, "tools": [{"type": "function", "function": function}]}], "pairs": [pair]}
    found = read(python, starter_models.chat, request)
    (prompt, answered) = found["learnt"][0]
    assert "# Tools" in prompt[1]
    assert answered == [True, '<tool_call>\n{"name": "weather", "arguments": {"city": "Oslo"}}\n</tool_call><|im_end|>']
    asked = "<|im_start|>system\nBe kind.<|im_end|>\n<|im_start|>user\nWeather?<|im_end|>\n<|im_start|>assistant\n"
    assert found["pairs"] == [[asked, "Sunny<|im_end|>", "Go away<|im_end|>"]]
