"""Tokenizers: every text comes back, the same input gives the same file, and the engine cuts as training does."""

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from transformers import AutoTokenizer

from freehold.catalog.convert.__main__ import convert
from freehold.errors import ConfigError
from freehold.training.data.settings import LEAST, TokenizerSettings
from freehold.training.data.tokenizer import PIECE, SPECIAL, TextTokenizer, pieces, train_tokenizer
from tests.catalog.llama_folder import llama_files
from tests.engines.llamacpp_models import ask
from tests.training.data.texts import play
from tests.training.finetune.served import served

pytestmark = pytest.mark.torch

CUTS = ("gpt-2", "smollm", "llama-bpe", "qwen2")
LOOKALIKES = st.sampled_from(
    [*SPECIAL, "<|im_start", "|>", "<|", "[PAD1]", "<0x0A>", "\u2581", "\u0120", "'ll", "  ", "\r\n"]
)
TEXTS = st.lists(st.one_of(st.text(max_size=40), LOOKALIKES), max_size=8).map("".join)
HARD = (
    "12345 abc 1 2 33 3.14 1e-5",
    " x",
    "a  b\n\n c   ",
    "<|im_start|>user\nhi<|im_end|>\n<|endoftext|>",
    "日本語 émoji 😀\u200d👩\u200d🚀",
    "tab\t\t  nbsp\u00a0x\ufeffy",
    "it's I'LL don't the king",
    "    def f(x):\n\treturn x**2 # 10%\r\n",
    "½ ① ٣ Ⅷ 二十 \x01\x1c\x85",
)


def trained(folder: Path, vocabulary: int = 400, cut: str = "gpt-2") -> TextTokenizer:
    """A tokenizer of some text."""
    return train_tokenizer([play(20_000)], TokenizerSettings(vocabulary=vocabulary, cut=cut), folder)  # type: ignore[arg-type]


@pytest.fixture(scope="module", params=CUTS)
def tokenizer(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> TextTokenizer:
    return trained(tmp_path_factory.mktemp("tokenizer"), cut=request.param)


@given(text=TEXTS)
@settings(max_examples=150, deadline=None)
def test_every_text_comes_back(tokenizer: TextTokenizer, text: str) -> None:
    """Whatever a text has, control characters and what looks like special tokens among it, its tokens give it back."""
    (tokens,) = tokenizer.encode([text])
    assert tokenizer.decode(tokens) == text
    assert not np.isin(tokens, range(len(SPECIAL))).any()
    assert tokenizer.token_bytes()[tokens].sum() == len(text.encode())


@given(text=TEXTS)
@settings(max_examples=80, deadline=None)
def test_special_tokens_are_special_where_they_are_meant(tokenizer: TextTokenizer, text: str) -> None:
    """A text in which special tokens count comes back as well, each of them one token."""
    (tokens,) = tokenizer.encode([f"<|im_start|>{text}<|im_end|>"], special=True)
    assert tokens[[0, -1]].tolist() == [1, 2]
    assert tokenizer.decode(tokens) == f"<|im_start|>{text}<|im_end|>"


@given(text=TEXTS, longest=st.integers(8, 60))
@settings(max_examples=80, deadline=None)
def test_pieces_make_the_text(text: str, longest: int) -> None:
    """A text that is cut into pieces is their sum, and none is too long."""
    found = list(pieces(text, longest))
    assert "".join(found) == text
    assert all(0 < len(piece) <= longest for piece in found)


def test_a_long_text_is_cut_as_a_whole_would_be(tokenizer: TextTokenizer) -> None:
    """A text that is cut into pieces for speed has the tokens that it has as a whole."""
    text = play(3 * PIECE, seed=9)
    assert len(list(pieces(text))) > 3
    (tokens,) = tokenizer.encode([text])
    assert tokens.tolist() == tokenizer._tokenizer.encode(text, add_special_tokens=False).ids


def test_bytes_alone_are_tokens(tmp_path: Path) -> None:
    """The smallest vocabulary has the bytes and special tokens, and each byte is a token."""
    found = trained(tmp_path, LEAST)
    assert found.vocabulary == LEAST
    assert json.loads((tmp_path / "tokenizer.json").read_text())["model"]["merges"] == []
    (tokens,) = found.encode(["naïve 日\n"])
    assert len(tokens) == len("naïve 日\n".encode())


def test_a_poor_text_gives_fewer_tokens(tmp_path: Path) -> None:
    """A text with few pairs gives what it has."""
    assert 260 < train_tokenizer(["abab abab"], TokenizerSettings(vocabulary=1000), tmp_path).vocabulary < 270


PROGRAM = """
import sys
from pathlib import Path
from freehold.training.data.settings import TokenizerSettings
from freehold.training.data.tokenizer import train_tokenizer
from tests.training.data.texts import play
print(train_tokenizer([play(200_000)], TokenizerSettings(vocabulary=600), Path(sys.argv[1])).sha256)
"""


def test_the_same_input_gives_the_same_file(tmp_path: Path) -> None:
    """In two processes, with one thread and with four, the file is the same, byte for byte."""
    found = {
        subprocess.run(
            [sys.executable, "-c", PROGRAM, str(tmp_path / threads)],
            env={**os.environ, "RAYON_NUM_THREADS": threads},
            capture_output=True,
            check=True,
        ).stdout
        for threads in ("1", "4")
    }
    assert len(found) == 1
    assert len({(tmp_path / threads / "tokenizer_config.json").read_bytes() for threads in ("1", "4")}) == 1


def test_transformers_reads_it(tokenizer: TextTokenizer) -> None:
    """Transformers loads the folder, cuts as we do, knows the special tokens and renders conversations."""
    theirs = AutoTokenizer.from_pretrained(str(tokenizer.folder))
    for text in HARD:
        assert theirs.encode(text) == tokenizer.encode([text], special=True)[0].tolist()
    assert (theirs.bos_token_id, theirs.eos_token_id, theirs.pad_token_id) == (0, 2, 3)
    messages = [{"role": "user", "content": "Hi"}, {"role": "assistant", "content": "Hello"}]
    assert theirs.apply_chat_template(messages, tokenize=False) == tokenizer.rendered({"messages": messages})


@pytest.mark.slow
def test_the_engine_cuts_as_training_does(tokenizer: TextTokenizer, tmp_path: Path) -> None:
    """A model that is exported with the tokenizer is served with the same tokens, which end where they are to end."""
    files = llama_files(json.loads((tokenizer.folder / "tokenizer.json").read_text()))
    for name, content in files.items():
        (tmp_path / name).write_bytes(content)
    for file in tokenizer.files():
        (tmp_path / file.name).write_bytes(file.read_bytes())
    model = tmp_path / "model.gguf"
    convert(tmp_path, model, "f32")
    with served(model) as socket:
        for text in (*HARD, play(2000, seed=5)):
            for special in (False, True):
                body = {"content": text, "parse_special": special, "add_special": True}
                found = ask(socket, "/tokenize", body)["tokens"]
                assert found == tokenizer.encode([text], special=special)[0].tolist(), (text, special)
        (tokens,) = tokenizer.encode([HARD[4]])
        assert ask(socket, "/detokenize", {"tokens": tokens.tolist()})["content"] == HARD[4]


def test_a_conversation_is_written_as_it_is_served(tokenizer: TextTokenizer) -> None:
    """The system's and the developer's words, parts of content and calls of tools go through the served template."""
    call = {"type": "function", "id": "1", "function": {"name": "add", "arguments": '{"a": 1}'}}
    messages = [
        {"role": "developer", "content": "Be brief."},
        {"role": "user", "content": [{"type": "text", "text": "1 + "}, {"type": "text", "text": "1"}]},
        {"role": "assistant", "tool_calls": [call]},
        {"role": "tool", "tool_call_id": "1", "content": "2"},
        {"role": "assistant", "content": "Two."},
    ]
    assert tokenizer.rendered({"messages": messages}) == (
        "<|im_start|>system\nBe brief.<|im_end|>\n<|im_start|>user\n1 + 1<|im_end|>\n"
        '<|im_start|>assistant\n<tool_call>\n{"name": "add", "arguments": {"a": 1}}\n</tool_call><|im_end|>\n'
        "<|im_start|>user\n<tool_response>\n2\n</tool_response><|im_end|>\n"
        "<|im_start|>assistant\nTwo.<|im_end|>\n"
    )


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"model": 3}'])
def test_a_damaged_file_is_named(tmp_path: Path, text: str) -> None:
    """A file that is no tokenizer is told with its path."""
    (tmp_path / "tokenizer.json").write_text(text)
    with pytest.raises(ConfigError, match=r"tokenizer\.json cannot be read"):
        TextTokenizer.open(tmp_path)


def test_a_folder_without_a_tokenizer_is_told(tmp_path: Path) -> None:
    """Where there is no tokenizer, how to make one is said."""
    with pytest.raises(ConfigError, match="make one with: freehold train tokenizer"):
        TextTokenizer.open(tmp_path)
