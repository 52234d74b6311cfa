"""The process that trains or cross-validates the content filter's classifier: needs the extra `train`.

python -m freehold.training.content_filter.worker TASK, where TASK is JSON: `what` (`train` or `validate`), `data` and
`own` (files), `out` (a folder), and `recipe`.
"""

import json
import sys
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from freehold.content_filter.weights_file import write_weights
from freehold.errors import ConfigError
from freehold.training.content_filter.calibration import asked_about, bands_of, calibrated, calibrations, cut_points
from freehold.training.content_filter.card import head_card, model_card
from freehold.training.content_filter.data import Example, digest_of, training_examples
from freehold.training.content_filter.embedding_head import Texts, directions, honest_head, train_head
from freehold.training.content_filter.fitting import counted, fit, labels_of
from freehold.training.content_filter.recipe import CATEGORIES, HEADS, Recipe
from freehold.training.content_filter.report import Predictions, report, where
from freehold.training.content_filter.validation import Held, held_out, honest_probabilities, weights_header


def main() -> None:
    """Do one task; a mistake of the user's is one line on stderr and exit code 2."""
    task: dict[str, Any] = json.loads(sys.argv[1])
    recipe = Recipe(**{**task["recipe"], "tweets": tuple(task["recipe"]["tweets"])})
    try:
        examples = training_examples(map(Path, task["data"]), map(Path, task["own"]), recipe)
        _check(examples, recipe)
        train(examples, recipe, task) if task["what"] == "train" else validate(examples, recipe, task)
    except ConfigError as exc:
        sys.stderr.write(f"{exc}\n")
        sys.exit(2)


def train(examples: list[Example], recipe: Recipe, task: dict[str, Any]) -> None:
    """Train on everything, calibrated by cross-validation; write weights and their card."""
    out = Path(task["out"])
    counts = counted([example.text for example in examples], recipe.bits)
    held = held_out(examples, counts, recipe, say)
    labels = labels_of(examples)
    primary = np.array([example.primary for example in examples])
    harmless = np.array([example.harmless for example in examples])
    found = calibrations(held.logits, labels, primary)
    probabilities = calibrated(held.logits, found)
    cuts = cut_points(probabilities[primary], labels[primary], harmless[primary], recipe.over_blocking)
    bands = bands_of(probabilities[primary], harmless[primary], cuts)
    tables, steps = fit(examples, counts, recipe)
    tables["seen"] = b"".join(sorted({digest_of(example.text) for example in examples}))
    digest = write_weights(out / "ngrams.bin", weights_header(steps, found, cuts, bands), tables)
    predictions = _predictions(examples, held, recipe)
    figures = report(predictions)
    sources = [Path(name).name for name in (*task["data"], *task["own"])]
    card = model_card(figures, examples, sources, recipe, digest, cuts)
    if task.get("vectors"):
        embedded = json.loads(Path(task["vectors"]).read_text(encoding="utf-8"))
        texts = _head_texts(examples, held, recipe, embedded["vectors"])
        header, coefficients = train_head(texts, recipe)
        header |= {"model": embedded["model"], "classifier": digest[:12]}
        head = write_weights(out / "embedding.bin", header, {"coefficients": coefficients})
        judged = _head_predictions(examples, texts, recipe)
        asked = asked_about(probabilities[primary], bands)
        grey = where(asked.tolist(), judged, predictions)
        card += head_card(report(judged), report(grey), float(asked.mean()), embedded["model"], head)
    (out / "card.md").write_text(card, encoding="utf-8")
    say(f"the weights' digest is {digest}")


def validate(examples: list[Example], recipe: Recipe, task: dict[str, Any]) -> None:
    """Write what weights that have not seen them make of the primary examples: `predictions.json`.

    With vectors also what the head makes of them, `judged.json`, and which of them it is asked about, in `asked.json`.
    """
    out = Path(task["out"])
    counts = counted([example.text for example in examples], recipe.bits)
    held = held_out(examples, counts, recipe, say)
    _write(out / "predictions.json", _predictions(examples, held, recipe).wire())
    if task.get("vectors"):
        embedded = json.loads(Path(task["vectors"]).read_text(encoding="utf-8"))
        texts = _head_texts(examples, held, recipe, embedded["vectors"])
        _write(out / "judged.json", _head_predictions(examples, texts, recipe).wire())
        _write(out / "asked.json", _asked(examples, held, recipe).tolist())


def _asked(examples: list[Example], held: Held, recipe: Recipe) -> NDArray[np.bool_]:
    """Of the primary examples those that the classifier is not sure of."""
    labels = labels_of(examples)
    primary = np.array([example.primary for example in examples])
    harmless = np.array([example.harmless for example in examples])
    probabilities = calibrated(held.logits, calibrations(held.logits, labels, primary))[primary]
    cuts = cut_points(probabilities, labels[primary], harmless[primary], recipe.over_blocking)
    return asked_about(probabilities, bands_of(probabilities, harmless[primary], cuts))


def _write(path: Path, content: Any) -> None:
    path.write_text(json.dumps(content), encoding="utf-8")


def _predictions(examples: list[Example], held: Held, recipe: Recipe) -> Predictions:
    """Of the primary examples: ranked by the raw scores of weights that have not seen them."""
    _, severities = honest_probabilities(examples, held, recipe)
    primary = np.array([example.primary for example in examples])
    probabilities = calibrated(held.logits, calibrations(held.logits, labels_of(examples), primary))
    rows = [row for row, example in enumerate(examples) if example.primary]
    return Predictions(
        labels=tuple(examples[row].labels for row in rows),
        harmless=tuple(examples[row].harmless for row in rows),
        scores=tuple(dict(zip(HEADS, map(float, probabilities[row]), strict=True)) for row in rows),
        severities=tuple(dict(zip(CATEGORIES, map(int, severities[row]), strict=True)) for row in rows),
    )


def _head_texts(examples: list[Example], held: Held, recipe: Recipe, vectors: list[list[list[float]]]) -> Texts:
    """What the head over sentence vectors is trained on: the primary examples, in their order.

    Raises:
        ConfigError: there are not as many texts with vectors.
    """
    rows = [row for row, example in enumerate(examples) if example.primary]
    if len(vectors) != len(rows):
        raise ConfigError(
            f"there are vectors of {len(vectors)} texts, and {len(rows)} labelled texts; embed them again"
        )
    scores, _ = honest_probabilities(examples, held, recipe)
    return Texts(
        vectors=directions(vectors),
        scores=scores[rows, : len(CATEGORIES)],
        labels=labels_of(examples)[rows, : len(CATEGORIES)],
        harmless=np.array([examples[row].harmless for row in rows]),
        folds=held.folds[rows],
    )


def _head_predictions(examples: list[Example], texts: Texts, recipe: Recipe) -> Predictions:
    """Of the classifier and the head together, asked about every text."""
    probabilities, severities = honest_head(texts, recipe)
    return Predictions(
        labels=tuple(
            {head: label for head, label in example.labels.items() if head in CATEGORIES}
            for example in examples
            if example.primary
        ),
        harmless=tuple(map(bool, texts.harmless)),
        scores=tuple(dict(zip(CATEGORIES, map(float, row), strict=True)) for row in probabilities),
        severities=tuple(dict(zip(CATEGORIES, map(int, row), strict=True)) for row in severities),
    )


def _check(examples: list[Example], recipe: Recipe) -> None:
    """Refuse what nothing can be learned from.

    Raises:
        ConfigError: there are too few labelled texts, or none of one of the four categories.
    """
    for category in CATEGORIES:
        for label, word in ((1, "harmful"), (0, "harmless")):
            number = len(
                {
                    digest_of(example.text)
                    for example in examples
                    if example.primary and example.labels.get(category) == label
                }
            )
            if number < recipe.folds:
                raise ConfigError(
                    f"there are {number} different {word} texts of '{category}' to calibrate with; "
                    f"{recipe.folds} or more are needed"
                )


def say(line: str) -> None:
    """Tell how far it is, at once."""
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()


if __name__ == "__main__":
    main()
