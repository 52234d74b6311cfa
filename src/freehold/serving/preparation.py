"""What must be there before a replica can start: the model's file and the secrets."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import TypeAlias

from freehold.engines.base import EngineSpec
from freehold.types.deployment import DeploymentSettings

Progress: TypeAlias = Callable[[str], None]
"""Takes a short text such as "downloading 35 %"."""

Prepare: TypeAlias = Callable[[DeploymentSettings, Progress], Awaitable[EngineSpec]]
"""Fetches the model where it is missing and reads secrets. Raises CatalogError or ConfigError."""


class Preparation:
    """Prepares for the replicas of one deployment: those that ask at the same time share one piece of work.

    Args:
        prepare: does the work.
        settings: what to prepare for.
    """

    def __init__(self, prepare: Prepare, settings: DeploymentSettings) -> None:
        self._prepare = prepare
        self._settings = settings
        self._loop = asyncio.get_running_loop()
        self._task: asyncio.Task[EngineSpec] | None = None
        self._listeners: list[Progress] = []

    @property
    def engine(self) -> str:
        """The name of the engine that is prepared for."""
        return self._settings.engine

    async def spec(self, progress: Progress) -> EngineSpec:
        """All that is needed to start an engine; the work is given up when nobody waits for it any more.

        Raises:
            CatalogError: the model cannot be fetched or is not what was pinned.
            ConfigError: a secret is missing.
        """
        if self._task is None:
            self._task = asyncio.create_task(self._work(), name=f"prepare {self._settings.name}")
        task = self._task
        self._listeners.append(progress)
        try:
            return await asyncio.shield(task)
        finally:
            self._listeners.remove(progress)
            if self._task is task and (task.done() or not self._listeners):
                self._task = None  # whoever asks next starts anew
                task.cancel()
                await asyncio.wait({task})
                if not task.cancelled():
                    task.exception()  # those who waited have it

    async def _work(self) -> EngineSpec:
        return await self._prepare(self._settings, self._tell)

    def _tell(self, text: str) -> None:
        """Pass progress on, from whichever thread does the work."""
        self._loop.call_soon_threadsafe(self._deliver, text)

    def _deliver(self, text: str) -> None:
        for listener in self._listeners:
            listener(text)
