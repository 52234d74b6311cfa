"""Options that engines with pipelines have in common, checked before anything is started."""

import re
from collections.abc import Mapping
from typing import Any, Final

from freehold.errors import ConfigError
from freehold.types.deployment import DeploymentSettings

SCHEDULER: Final = re.compile(r"[A-Z][A-Za-z0-9]{0,60}Scheduler")
SIZE: Final = re.compile(r"([1-9]\d{1,3})x([1-9]\d{1,3})")
SIDE_MULTIPLE: Final = 8
RANGES: Final = {
    "threads": (1, 1024),
    "steps": (1, 1000),
    "guidance_scale": (0, 100),
    "edit_strength": (0.01, 1),
    "variation_strength": (0.01, 1),
}
"""Option → the least and the most it may be."""


def check_use(settings: DeploymentSettings) -> None:
    """Check that a deployment of an engine that paints here is one of pictures, and has no endpoint elsewhere.

    Raises:
        ConfigError: it is not.
    """
    if settings.base_url is not None:
        raise ConfigError(f"base_url: the engine '{settings.engine}' runs here and has none", param="base_url")
    if settings.task != "images":
        raise ConfigError(f"task: the engine '{settings.engine}' paints; set task = \"images\"", param="task")


def check_painting(options: Mapping[str, Any]) -> None:
    """Check numbers, scheduler, sizes and adapters, as far as they are given.

    Raises:
        ConfigError: names the option that is wrong.
    """
    for name, (least, most) in RANGES.items():
        if name in options and not least <= options[name] <= most:
            raise option_error(name, f"must be from {least} to {most}")
    if not SCHEDULER.fullmatch(options.get("scheduler", "DDIMScheduler")):
        raise option_error("scheduler", "must be the name of a scheduler's class, such as DDIMScheduler")
    for size in options.get("sizes", []):
        found = SIZE.fullmatch(size) if isinstance(size, str) else None
        if found is None or any(int(side) % SIDE_MULTIPLE for side in found.groups()):
            raise option_error("sizes", 'must be a list such as ["512x512"], sides being multiples of 8')
    _check_lora(options.get("lora", []))


def option_error(name: str, problem: str) -> ConfigError:
    """The error of an option."""
    return ConfigError(f"options.{name}: {problem}", param=f"options.{name}")


def _check_lora(entries: list[object]) -> None:
    for entry in entries:
        scale = entry.get("scale", 1.0) if isinstance(entry, dict) else None
        known = isinstance(entry, dict) and entry.keys() <= {"path", "scale"} and isinstance(entry.get("path"), str)
        if not known or isinstance(scale, bool) or not isinstance(scale, int | float):
            raise option_error("lora", "must be a list of tables with 'path' and, if need be, 'scale'")
