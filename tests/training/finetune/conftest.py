"""What tests of fine-tuning share: an interpreter that can train, and a model so small that it trains in seconds."""

from hashlib import sha256
from pathlib import Path

import pytest

from freehold.catalog.convert.__main__ import convert
from tests.catalog.llama_folder import byte_level_tokenizer, llama_files
from tests.training.finetune.driving import trainer_python

TEMPLATE = (
    "{% for message in messages %}<s>{{ message.role }}\n{{ message.content }}</s>\n{% endfor %}"
    "{% if add_generation_prompt %}<s>assistant\n{% endif %}"
)


@pytest.fixture(scope="session")
def python() -> str:
    """An interpreter that has torch and TRL."""
    found = trainer_python()
    if found is None:
        pytest.skip("there is no environment with torch and TRL; make setup-train makes it")
    return found


@pytest.fixture(scope="session")
def tiny_base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A random Llama of two layers as GGUF, named by its digest as the catalog's files are."""
    folder = tmp_path_factory.mktemp("tiny")
    files = llama_files(byte_level_tokenizer(), {"tie_word_embeddings": False})
    files["chat_template.jinja"] = TEMPLATE.encode()
    for name, content in files.items():
        (folder / name).write_bytes(content)
    made = folder / "model.gguf"
    convert(folder, made, "f32")
    return made.rename(folder / f"sha256-{sha256(made.read_bytes()).hexdigest()}")
