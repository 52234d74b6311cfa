"""Evaluations: made, looked at, listed and deleted, and their runs likewise."""

from freehold.types.evaluations import EvaluationsSettings


class Evaluations:
    """The evaluations of one home.

    Args:
        settings: what they ask beside the models that their callers name.
    """

    def __init__(self, settings: EvaluationsSettings) -> None:
        self.settings = settings
