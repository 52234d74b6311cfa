"""Which of a deployment's settings its engines depend on."""

from typing import Any, Final

from freehold.types.deployment import DeploymentSettings

_NOT_THE_ENGINES: Final = frozenset(
    {"name", "aliases", "replicas", "idle_unload_s", "start", "fallbacks", "price", "defaults", "queue"}
    | {"promote_if", "canary", "upgrade", "description", "prompt_cache_routing", "capacity", "autoscale", "work_class"}
)
"""Settings that a running engine does not see."""


def of_engine(settings: DeploymentSettings) -> dict[str, Any]:
    """The settings that a running engine depends on."""
    return settings.model_dump(exclude=set(_NOT_THE_ENGINES))
