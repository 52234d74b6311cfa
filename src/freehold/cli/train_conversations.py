"""`freehold train conversations`: out of a text, what a model of it is fine-tuned and evaluated with."""

from pathlib import Path
from typing import Annotated

import typer

from freehold.cli.options import JsonOption
from freehold.cli.output import print_json, print_note
from freehold.cli.tables import print_table
from freehold.training.language.conversation_files import write_conversations
from freehold.training.language.conversations import ConversationSettings, read_conversations
from freehold.training.trainer.recipe import read

CONVERSATIONS_EXAMPLE = "Example: freehold train conversations --text play.txt --out conversations"


def train_conversations(
    text: Annotated[
        list[Path], typer.Option("--text", metavar="FILE", help="A text in UTF-8, read after those before; repeatable.")
    ],
    out: Annotated[Path, typer.Option("--out", metavar="FOLDER", help="Where the files go.")],
    name: Annotated[
        str | None, typer.Option("--name", help="What the evaluation is called. [default: after the first text]")
    ] = None,
    held_out: Annotated[float, typer.Option("--held-out", help="The share at the end that is not learnt.")] = 0.1,
    longest: Annotated[int, typer.Option("--longest", help="Characters of a question or an answer at most.")] = 240,
    most: Annotated[int, typer.Option("--most", help="Exchanges to learn from at most.")] = 4000,
    most_pairs: Annotated[int, typer.Option("--most-pairs", help="Of these for preferences at most.")] = 2000,
    seed: Annotated[int, typer.Option("--seed", min=0, help="By which they are drawn.")] = 1,
    as_json: JsonOption = False,
) -> None:
    """Make conversations of a text: of a play each speech with the next, else each paragraph's two halves.

    Writes pretraining.jsonl, a few for 'freehold train data --also', training.jsonl and validation.jsonl for
    'freehold tune start', preferences-training.jsonl and preferences-validation.jsonl for its method 'dpo', and
    evaluation.toml with its items for 'freehold eval run'.

    What is held out is the end of the text, as with 'freehold train data --validation-share'.
    """
    given = {"held_out": held_out, "longest": longest, "most": most, "most_pairs": most_pairs, "seed": seed}
    settings = read(ConversationSettings, given)
    found = read_conversations(text, settings)
    written = write_conversations(found, name or text[0].stem, out, settings.most_pairs)
    if as_json:
        print_json({"form": found.form, "files": [{"path": str(path), "lines": lines} for path, lines in written]})
        return
    print_table(("file", "lines"), written)
    print_note(f"read as {'a play' if found.form == 'play' else 'prose'}")
