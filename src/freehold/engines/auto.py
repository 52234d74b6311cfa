"""What `engine = "auto"` means: which engines serve a deployment, the fastest first, and each one's own settings.

Options are for every engine, or in a table that is named after one of them: `options.openvino.precision`. An engine but
the last that does not know an option which is for all is left out: it would not do what was asked for. The last one has
every feature; what it refuses is refused.
"""

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from typing import Final, TypeAlias

from freehold.engines.base import Engine
from freehold.engines.registry import get_engine
from freehold.errors import ConfigError
from freehold.types.deployment import DeploymentSettings

AUTO: Final = "auto"
FASTEST_FIRST: Final[dict[str, tuple[str, ...]]] = {
    "chat": ("openvino", "llamacpp"),
    "embeddings": ("llamacpp",),
    "images": ("llamacpp",),
}
"""Task → the engines that `auto` can stand for. The last is the one with every feature and for every model."""

FindEngine: TypeAlias = Callable[[str], Engine]
FastestFirst: TypeAlias = Mapping[str, tuple[str, ...]]


def among(fast_engines: Collection[str]) -> FastestFirst:
    """What `auto` stands for where of the faster engines only these are to be used."""
    return {
        task: (*(name for name in engines[:-1] if name in fast_engines), engines[-1])
        for task, engines in FASTEST_FIRST.items()
    }


@dataclass(frozen=True, slots=True)
class LeftOut:
    """An engine that does not serve a deployment, and why."""

    engine: str
    why: str


@dataclass(frozen=True, slots=True)
class Plan:
    """By what a deployment is served.

    Args:
        lanes: the deployment's settings for each engine, the fastest first; one at least.
        left_out: engines that would be faster, and why they cannot serve it.
    """

    lanes: tuple[DeploymentSettings, ...]
    left_out: tuple[LeftOut, ...] = ()


def plan(
    settings: DeploymentSettings,
    find_engine: FindEngine = get_engine,
    fastest_first: FastestFirst = FASTEST_FIRST,
) -> Plan:
    """The engines that are to serve a deployment: one where it names its engine."""
    if settings.engine != AUTO:
        return Plan((settings,))
    *fast, full = fastest_first[settings.task]
    lanes, left_out = [], []
    for name in fast:
        lane = _lane(settings, name, (*fast, full))
        why = find_engine(name).missing() or _objection(find_engine(name), lane)
        if why is None:
            lanes.append(lane)
        else:
            left_out.append(LeftOut(name, why))
    return Plan((*lanes, _lane(settings, full, (*fast, full))), tuple(left_out))


def check(
    settings: DeploymentSettings,
    find_engine: FindEngine = get_engine,
    fastest_first: FastestFirst = FASTEST_FIRST,
) -> None:
    """Return if the engines that are to serve a deployment take its settings.

    Raises:
        ConfigError: there is no such engine, or it does not take them; names the offending key.
    """
    if settings.engine != AUTO:
        find_engine(settings.engine).validate(settings)
        return
    *fast, full = engines = fastest_first[settings.task]
    try:
        find_engine(full).validate(_lane(settings, full, engines))
    except ConfigError as exc:
        hint = (
            f"; what is for one engine alone stands in a table of its name, such as options.{fast[0]}" if fast else ""
        )
        raise ConfigError(f"{exc.message}{hint}", param=exc.param) from exc
    for name in fast:
        own = settings.options.get(name)
        if isinstance(own, dict):
            find_engine(name).validate(settings.model_copy(update={"engine": name, "options": own}))


def _lane(settings: DeploymentSettings, engine: str, engines: tuple[str, ...]) -> DeploymentSettings:
    """The settings for one of the engines: without what is for another, be it in use here or not."""
    known = {*engines, *FASTEST_FIRST[settings.task]}
    tables = {name: table for name, table in settings.options.items() if name in known and isinstance(table, dict)}
    general = {name: value for name, value in settings.options.items() if name not in tables}
    return settings.model_copy(update={"engine": engine, "options": {**general, **tables.get(engine, {})}})


def _objection(engine: Engine, lane: DeploymentSettings) -> str | None:
    """Why an engine cannot serve with these settings; None if it can."""
    try:
        engine.validate(lane)
    except ConfigError as exc:
        return exc.message
    return None
