"""`freehold filter evaluate`: how good the content filter's classifier is on labelled texts."""

import asyncio
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any

import orjson
import typer

from freehold.cli.lazy import command_group
from freehold.cli.options import HomeOption, JsonOption, home_of
from freehold.cli.output import print_json
from freehold.cli.tables import print_table
from freehold.cli.vectors import embedded
from freehold.content_filter.ngrams import SHIPPED, NgramClassifier, load_classifier
from freehold.training.content_filter.build import Validated, validate
from freehold.training.content_filter.data import Example, digest_of, read_examples, training_examples
from freehold.training.content_filter.metrics import Measured
from freehold.training.content_filter.recipe import CATEGORIES, Recipe
from freehold.training.content_filter.report import Predictions, Report, report, table
from freehold.types.content_filter import Category, Passage, Side

EPILOG = """\b
Examples:
  freehold filter evaluate moderation.jsonl
  freehold filter evaluate moderation.jsonl --folds 5 --with tweets.csv"""


app = command_group()


@app.command(epilog=EPILOG)
def evaluate(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="Labelled texts: JSONL, Davidson's or Ethos's CSV.")],
    folds: Annotated[
        int | None,
        typer.Option("--folds", min=2, max=20, help="Train anew, each text scored by weights that have not seen it."),
    ] = None,
    more: Annotated[
        list[Path] | None,
        typer.Option("--with", metavar="FILE", help="With --folds: labelled texts to train with as well; repeatable."),
    ] = None,
    weights: Annotated[
        Path,
        typer.Option("--weights", metavar="FILE", help="The weights to evaluate.", show_default="the shipped ones"),
    ] = SHIPPED,
    embed: Annotated[
        str | None,
        typer.Option("--embed", metavar="NAME", help="With --folds: ask a head over this deployment's vectors too."),
    ] = None,
    seed: Annotated[int, typer.Option("--seed", min=0, help="Of the folds.")] = 1,
    home: HomeOption = None,
    as_json: JsonOption = False,
) -> None:
    """Report how well the n-gram classifier tells harmful texts: AUPRC, precision, recall, over-blocking.

    Figures come with 95 % intervals. --folds needs the extra 'train', --embed a running server.
    """
    if folds is None and (more or embed):
        raise typer.BadParameter("--with and --embed need --folds: without it nothing is trained")
    if folds is None:
        _with_weights(file, weights, as_json=as_json)
        return
    recipe = Recipe(seed=seed, folds=folds)
    with tempfile.TemporaryDirectory() as folder:
        vectors = None
        if embed is not None:
            texts = [each.text for each in training_examples([file, *(more or [])], [], recipe) if each.primary]
            vectors = Path(folder) / "vectors.json"
            vectors.write_bytes(orjson.dumps(asyncio.run(embedded(home_of(home), embed, texts, _say))))
        found = asyncio.run(validate(recipe, file, more or [], _say, vectors))
    if as_json:
        print_json({**_stages(found), "folds": folds, "seen_in_training": 0})
        return
    _print(report(found.classifier))
    if found.judged is not None and found.served is not None:
        print("\nwith the embedding stage, asked about every text:")
        _print(report(found.judged))
        print(f"\nas it serves, asked about the {100 * found.asked:.0f} % that the classifier is not sure of:")
        _print(report(found.served))


def _stages(found: Validated) -> dict[str, Any]:
    """The figures of cross-validation as JSON values: the classifier's, and those with the embedding stage."""
    wire = _wire(report(found.classifier))
    if found.judged is not None and found.served is not None:
        wire["with_embeddings"] = _wire(report(found.judged))
        wire["as_served"] = {**_wire(report(found.served)), "asked": found.asked}
    return wire


def _with_weights(file: Path, weights: Path, *, as_json: bool) -> None:
    """Evaluate weights as they are, and say whether they were trained on these texts."""
    classifier = load_classifier(weights)
    examples = read_examples(file)
    seen = _seen(classifier, examples)
    figures = report(predict(classifier, examples))
    if as_json:
        print_json({**_wire(figures), "folds": None, "seen_in_training": seen})
    else:
        _print(figures)
    if seen:
        _say(
            f"{seen} of these texts were part of the weights' training: the figures say little about texts like them. "
            "'--folds 5' tells what weights make of texts that they have not seen."
        )


def _say(line: str) -> None:
    print(line, file=sys.stderr, flush=True)


def predict(classifier: NgramClassifier, examples: Sequence[Example]) -> Predictions:
    """What a classifier makes of texts."""
    found = [classifier(Passage(example.text, Side.PROMPT)) for example in examples]
    return Predictions(
        labels=tuple(example.labels for example in examples),
        harmless=tuple(example.harmless for example in examples),
        scores=tuple(dict(findings.scores) for findings in found),
        severities=tuple(
            {name: int(findings.severities.get(Category(name), 0)) for name in CATEGORIES} for findings in found
        ),
    )


def _seen(classifier: NgramClassifier, examples: Sequence[Example]) -> int:
    """How many of the texts the weights were trained on."""
    return sum(digest_of(example.text) in classifier.seen for example in examples)


def _wire(figures: Report) -> dict[str, Any]:
    """As JSON values; what cannot be told is null."""
    return {key: _number(value) for key, value in asdict(figures).items()}


def _number(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _number(each) for key, each in value.items()}
    return None if isinstance(value, float) and value != value else value  # noqa: PLR0124  # the test for NaN


def _print(figures: Report) -> None:
    print_table(("category", "texts", "harmful", "AUPRC", "precision", "recall"), table(figures))
    print(f"mean AUPRC of {', '.join(CATEGORIES)}: {figures.mean_auprc:.3f}")
    if figures.harmless:
        print(f"over-blocking: {_share(figures.over_blocking)} of {figures.harmless} texts without a harm label")


def _share(part: Measured) -> str:
    return f"{100 * part.value:.1f} % ({100 * part.low:.1f}-{100 * part.high:.1f} %)"
