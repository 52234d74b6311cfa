"""Detectors and stages in a row, cheapest first."""

from collections.abc import Mapping, Sequence

from freehold.content_filter.base import Detector, Stage
from freehold.types.content_filter import NOTHING, Findings, Passage, merged


class Chain:
    """Examines texts.

    Args:
        detectors: asked about every text, in this order.
        stages: asked after them, in this order; each about what it says is worth its cost.
    """

    def __init__(self, detectors: Sequence[Detector], stages: Sequence[Stage] = ()) -> None:
        self._detectors = tuple(detectors)
        self._stages = tuple(stages)
        parts: tuple[Detector | Stage, ...] = (*self._detectors, *self._stages)
        self.versions: Mapping[str, str] = {part.name: part.version for part in parts}
        """Of each detector and stage by its name."""

    def __bool__(self) -> bool:
        """Whether anything is looked for."""
        return bool(self._detectors or self._stages)

    async def examine(self, passage: Passage) -> Findings:
        """What is in a text.

        Raises:
            FilterUnavailable: a model that must be asked cannot be. Whatever else a detector raises, escapes too.
        """
        found = NOTHING
        for detector in self._detectors:
            more = detector(passage)
            if more is not NOTHING:
                found = more if found is NOTHING else merged(found, more)
        for stage in self._stages:
            if stage.wants(passage, found):
                found = await stage(passage, found)
        return found

    def pending(self, text: str) -> int:
        """How many code points at the end of an unfinished text must not be sent yet."""
        return max((detector.pending(text) for detector in self._detectors), default=0)
