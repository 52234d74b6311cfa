"""`freehold train`: make the models that Freehold trains itself."""

import asyncio
from pathlib import Path
from typing import Annotated

import orjson
import typer

from freehold.cli.lazy import command_group
from freehold.cli.options import HomeOption, home_of
app.command("tokenizer", epilog=TOKENIZER_EXAMPLE)(train_tokenizer)
app.command("data", epilog=DATA_EXAMPLE)(train_data)
