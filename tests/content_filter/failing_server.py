"""A Freehold server whose content filter has a detector that breaks at the word `crash`; for tests.

python -m tests.content_filter.failing_server HOME CONFIG
"""

import sys
from collections.abc import Sequence
from pathlib import Path

from freehold.config import load_settings
from freehold.content_filter.base import Detector
from freehold.content_filter.registry import Parts
from freehold.server import run
from freehold.types.content_filter import BlocklistSettings, FilterSettings, Side
from tests.content_filter.filters import Failing


def _detectors(settings: FilterSettings, _lists: Sequence[BlocklistSettings], _side: Side) -> list[Detector]:
    """The one that breaks; for the policy `unmade` not even that."""
    if settings.name == "unmade":
        raise OSError("the weights cannot be read")
    return [Failing("crash")]


if __name__ == "__main__":
    settings = load_settings(Path(sys.argv[2]))
    settings = settings.model_copy(update={"server": settings.server.model_copy(update={"port": 0})})
    failing = Parts(_detectors, lambda _settings, _side: [])
    sys.exit(run(Path(sys.argv[1]), settings, announce=lambda _: None, parts=failing))
