"""A Freehold server whose content filter has a detector that breaks at the word `crash`; for tests.

python -m tests.content_filter.failing_server HOME CONFIG
"""

import sys
from pathlib import Path

from freehold.config import load_settings
from freehold.content_filter.registry import Parts
from freehold.server import run
from tests.content_filter.filters import Failing

if __name__ == "__main__":
    settings = load_settings(Path(sys.argv[2]))
    settings = settings.model_copy(update={"server": settings.server.model_copy(update={"port": 0})})
    failing = Parts(lambda _settings, _lists, _side: [Failing("crash")], lambda _settings, _side: [])
    sys.exit(run(Path(sys.argv[1]), settings, announce=lambda _: None, parts=failing))
