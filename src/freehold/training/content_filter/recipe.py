"""How the n-gram classifier is trained: every number that decides about its weights."""

from dataclasses import dataclass

CATEGORIES = ("sexual", "hate", "violence", "self_harm")
HEADS = (
    *CATEGORIES,
    "harassment",
    "hate/threatening",
    "violence/graphic",
    "illicit",
    "illicit/violent",
    "self-harm/intent",
    "self-harm/instructions",
)
"""What has weights of its own, by OpenAI's names of moderation and, for the four categories, Freehold's."""


@dataclass(frozen=True, slots=True)
class Recipe:
    """The numbers.

    Args:
        seed: of the templates' sentences, of the tweets drawn, and of the folds.
        bits: the table has two to the power of so many rows.
        strength: the inverse of the regularisation, scikit-learn's C.
        template_weight: of a sentence from a template, where a labelled conversation counts one.
        tweet_weight: of a tweet.
        tweets: how large a part of each class is drawn: hate, offensive, neither.
        folds: of the cross-validation that calibration and cut points come from.
        over_blocking: which part of texts without any harm label may reach `medium`.
        over_blocking_of_head: likewise, by the head over sentence vectors.
    """

    seed: int = 1
    bits: int = 18
    strength: float = 20.0
    template_weight: float = 0.5
    tweet_weight: float = 0.1
    tweets: tuple[float, float, float] = (1.0, 0.08, 0.4)
    folds: int = 5
    over_blocking: float = 0.04
    over_blocking_of_head: float = 0.03
