"""The process that prepares data or trains a tokenizer.

Run as `python -m freehold.training.data.worker (data|tokenizer) SETTINGS FOLDER`, the settings as JSON.
"""

import argparse
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from freehold.errors import ConfigError
from freehold.training.data.counting import counted
from freehold.training.data.prepare import Preparation
from freehold.training.data.report import said_of_data, said_of_tokenizer
from freehold.training.data.settings import DataSettings, TokenizerOrder
from freehold.training.data.sources import Document, Reader, plain
from freehold.training.data.tokenizer import train_tokenizer
from freehold.training.process import worker_status

_TOLD: Final = 8
"""Files that an error names."""


def main() -> None:
    """Do what the command line says."""
    parser = argparse.ArgumentParser(prog="worker")
    parser.add_argument("what", choices=("data", "tokenizer"))
    parser.add_argument("settings")
    parser.add_argument("folder", type=Path)
    arguments = parser.parse_args()
    if arguments.what == "data":
        settings = DataSettings.model_validate_json(arguments.settings)
        shards = Preparation(settings, arguments.folder, _say).run()
        for line in said_of_data(shards):
            _say(line)
    else:
        order = TokenizerOrder.model_validate_json(arguments.settings)
        _say(f"learning {order.settings.vocabulary:,} tokens from {counted(len(order.sources), 'file')}")
        if not any(text.strip() for text in _texts(order)):
            raise ConfigError(f"there is no text in {', '.join(source.path.name for source in order.sources[:_TOLD])}")
        tokenizer = train_tokenizer(_texts(order), order.settings, arguments.folder)
        for line in said_of_tokenizer(tokenizer, order.settings, _texts(order)):
            _say(line)


def _texts(order: TokenizerOrder) -> Iterator[str]:
    """The texts of the files, up to the length that is to be read."""
    reader, left = Reader(order.reading, plain), order.most_bytes
    for source in order.sources:
        for document in reader.documents(source):
            if isinstance(document, Document):
                yield document.text
                left -= len(document.text.encode())
            if left <= 0:
                return


def _say(text: str) -> None:
    sys.stdout.write(f"{text}\n")
    sys.stdout.flush()


if __name__ == "__main__":
    sys.exit(worker_status(main))
