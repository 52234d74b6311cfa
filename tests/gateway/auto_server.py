"""A Freehold server where `engine = "auto"` stands for two kinds of the echo engine; for tests.

python -m tests.gateway.auto_server HOME CONFIG
"""

import sys
from pathlib import Path
from typing import ClassVar

from freehold.config import load_settings
from freehold.engines.auto import FASTEST_FIRST
from freehold.engines.echo import EchoEngine
from freehold.engines.registry import ENGINES
from freehold.server import run


class QuickEngine(EchoEngine):
    """The one that `auto` takes first; its options say what it lacks."""

    name: ClassVar[str] = "quick"


if __name__ == "__main__":
    ENGINES["quick"] = "tests.gateway.auto_server:QuickEngine"
    FASTEST_FIRST["chat"] = ("quick", "echo")
    settings = load_settings(Path(sys.argv[2]))
    changed = {
        "server": settings.server.model_copy(update={"port": 0}),
        "supervisor": settings.supervisor.model_copy(update={"fast_engines": ("quick",)}),
    }
    settings = settings.model_copy(update=changed)
    sys.exit(run(Path(sys.argv[1]), settings, announce=lambda _: None))
