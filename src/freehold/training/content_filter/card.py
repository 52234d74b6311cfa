"""The model card of weights that were just trained."""

from collections import Counter
from collections.abc import Mapping, Sequence

from freehold.training.content_filter.data import Example
from freehold.training.content_filter.recipe import Recipe
from freehold.training.content_filter.report import Report, table


def model_card(
    figures: Report,
    examples: Sequence[Example],
    sources: Sequence[str],
    recipe: Recipe,
    digest: str,
    cuts: Mapping[str, Sequence[float]],
) -> str:
    """What the weights are, in Markdown.

    Args:
        figures: of cross-validation.
        examples: all that they were trained on.
        sources: the names of the files that those come from.
        recipe: the numbers of the training.
        digest: of the weights' file, without its last 32 bytes, which are the digest.
        cuts: from which probability on a category is low, medium, high.
    """
    kinds = Counter("labelled texts" if example.primary else "weighted texts and templates" for example in examples)
    counts = ", ".join(f"{number} {kind}" for kind, number in sorted(kinds.items()))
    severities = "; ".join(f"{name} {', '.join(f'{cut:.3f}' for cut in of)}" for name, of in cuts.items())
    return "\n".join(
        [
            "# Weights of the content filter's n-gram classifier",
            "",
            f"- SHA-256: `{digest}` (version `{digest[:12]}` in receipts)",
            f"- trained on: {', '.join(sources)}, and Freehold's own templates: {counts}",
            f"- recipe: {recipe}",
            f"- low, medium and high begin at these probabilities: {severities}",
            "",
            f"## {recipe.folds}-fold cross-validation",
            "",
            "Every text was scored by weights trained without it. Precision and recall are those at severity medium;",
            "in parentheses 95 % intervals by bootstrap over the texts.",
            "",
            *_figures(figures),
            "",
        ]
    )


def head_card(figures: Report, grey: Report, asked: float, model: str, digest: str) -> str:
    """The part of the card about the head over sentence vectors.

    Args:
        figures: of cross-validation, of classifier and head together, the head asked about every text.
        grey: likewise, the head asked about the texts that the classifier is unsure of.
        asked: which part of the texts those are.
        model: whose vectors the head reads.
        digest: of the head's file.
    """
    return "\n".join(
        [
            "",
            f"# Head over the vectors of {model}",
            "",
            f"- SHA-256: `{digest}` (version `{digest[:12]}` in receipts)",
            "- trained on the labelled texts alone; the classifier's log-odds are further inputs",
            "",
            "Classifier and head together, the head asked about every text, by the same folds:",
            "",
            *_figures(figures),
            "",
            f"As it serves, the head asked about the grey band alone, {100 * asked:.0f} % of these texts:",
            "",
            *_figures(grey),
            "",
        ]
    )


def _figures(figures: Report) -> list[str]:
    """The figures' lines."""
    over = figures.over_blocking
    return [
        "| category | texts | harmful | AUPRC | precision | recall |",
        "|---|---|---|---|---|---|",
        *(f"| {' | '.join(row)} |" for row in table(figures)),
        "",
        f"Mean AUPRC over sexual, hate, violence and self_harm: **{figures.mean_auprc:.3f}**.",
        (
            "Over-blocking (texts without a harm label that reach medium in any of the four): "
            f"{100 * over.value:.1f} % ({100 * over.low:.1f}-{100 * over.high:.1f} %) of {figures.harmless}."
        ),
    ]
