"""`freehold train`: make the models that Freehold trains itself."""

import asyncio
from pathlib import Path
from typing import Annotated

import orjson
import typer

from freehold.cli.lazy import command_group
from freehold.cli.options import HomeOption, home_of
from freehold.cli.output import say
from freehold.cli.train_conversations import CONVERSATIONS_EXAMPLE, train_conversations
from freehold.cli.train_data import DATA_EXAMPLE, train_data
from freehold.cli.train_export import EXPORT_EXAMPLE, train_export
from freehold.cli.train_image import train_image
from freehold.cli.train_plan import EPILOG as PLAN_EPILOG
from freehold.cli.train_plan import train_plan
from freehold.cli.train_pretrain import train_pretrain
from freehold.cli.train_tokenizer import TOKENIZER_EXAMPLE, train_tokenizer
from freehold.cli.train_watch import train_watch
from freehold.cli.vectors import embedded
from freehold.training.content_filter import build as content_filter
from freehold.training.content_filter.data import training_examples
from freehold.training.content_filter.recipe import Recipe as ContentFilterRecipe

app = command_group("Train a model of Freehold's own.", "Example: freehold train image --out painter --minutes 240")


@app.callback()
def train() -> None:
    """Train a model of Freehold's own."""


app.command("plan", epilog=PLAN_EPILOG)(train_plan)
app.command("tokenizer", epilog=TOKENIZER_EXAMPLE)(train_tokenizer)
app.command("data", epilog=DATA_EXAMPLE)(train_data)
app.command(
    "pretrain", epilog="Example: freehold train pretrain --data texts --recipe shakespeare --out runs/shakespeare"
)(train_pretrain)
app.command("watch", epilog="Example: freehold train watch runs/shakespeare")(train_watch)
app.command("export", epilog=EXPORT_EXAMPLE)(train_export)
app.command("conversations", epilog=CONVERSATIONS_EXAMPLE)(train_conversations)
app.command("image", epilog="Example: freehold train image --out painter --minutes 240")(train_image)


@app.command(
    "content-filter",
    epilog="Example: freehold train content-filter --data moderation.jsonl --own ours.jsonl --out weights",
)
def train_content_filter(
    out: Annotated[Path, typer.Option("--out", metavar="FOLDER", help="Where the weights and their card go.")],
    data: Annotated[
        list[Path] | None,
        typer.Option("--data", metavar="FILE", help="Labelled texts in a public form, JSONL or CSV; repeatable."),
    ] = None,
    own: Annotated[
        list[Path] | None,
        typer.Option("--own", metavar="FILE", help="JSONL of your own: text, and labels by name; repeatable."),
    ] = None,
    embed: Annotated[
        str | None,
        typer.Option("--embed", metavar="NAME", help="Train the head over this deployment's vectors too."),
    ] = None,
    seed: Annotated[int, typer.Option("--seed", min=0, help="Of the folds and of what is drawn.")] = 1,
    home: HomeOption = None,
) -> None:
    """Train the classifier of the content filter. Needs the extra 'train'.

    The forms of the files are in docs/reference/content-filter-classifier.md. The same files and seed give the
    same weights.
    """
    if not data and not own:
        raise typer.BadParameter("give labelled texts with --data or --own")
    out.mkdir(parents=True, exist_ok=True)
    recipe = ContentFilterRecipe(seed=seed)
    vectors = None
    if embed is not None:
        texts = [each.text for each in training_examples(data or [], own or [], recipe) if each.primary]
        vectors = out / "vectors.json"
        vectors.write_bytes(orjson.dumps(asyncio.run(embedded(home_of(home), embed, texts, say))))
    weights = asyncio.run(content_filter.train(recipe, data or [], own or [], out.resolve(), say, vectors))
    say(f"the weights are in {weights}, their card in {weights.with_name('card.md')}")
    say(f'use them with: [filter] weights = "{weights}"')
