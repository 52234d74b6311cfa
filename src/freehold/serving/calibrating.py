"""Measures what the replicas of a deployment do, with real requests of more and more callers at once.

It asks the replicas as the service itself does, past limits and receipts, and waits its turn like everybody. What is
measured is what they do when they have nothing else to do; it says if they had.
"""

import asyncio
import random
import secrets
import time
from collections.abc import Awaitable, Callable, Sequence
from contextlib import aclosing
from dataclasses import dataclass
from typing import Final, TypeAlias

import structlog

from freehold.engines.registry import get_engine
from freehold.errors import Conflict, FreeholdError
from freehold.serving.calibrations import Calibration, Level, fixed, now
from freehold.serving.lender import Lender
from freehold.serving.measurements import version_of
from freehold.serving.status import DeploymentStatus, Lease
from freehold.types.chat import ChatRequest
from freehold.types.completions import CompletionRequest
from freehold.types.deployment import DeploymentSettings, ReplicaState
from freehold.types.engine import Feature, Traits
from freehold.types.generation import Usage
from freehold.types.images import PaintRequest, Picture, PictureOperation

log = structlog.get_logger(__name__)

_GAIN: Final = 1.05
"""More at once is tried as long as it brings so many times as much as before."""
_IN_VAIN: Final = 2
"""So many numbers of callers in a row must not have: one may be chance."""
_TOO_LONG: Final = 4.0
"""Where requests take so many times as long as they had to begin in, more callers would only wait longer."""
_LEAST_SHARE: Final = 0.2
"""Of a level's time at least so much counts as writing: what reading the prompts took is known only roughly."""
_TEXT: Final = (
    "river stone letter window garden market winter bridge paper island silver morning forest engine copper harbour "
    "valley candle mirror thunder orange village shadow blanket corner teacher mountain bottle summer kitchen"
)
_WORDS: Final = _TEXT.split()
_TASK: Final = "Tell a long story about them, a storm and a ship, and leave nothing out."

One: TypeAlias = Callable[[], Awaitable[Usage]]
"""One request; what it used."""


@dataclass(frozen=True, slots=True)
class Effort:
    """How much is tried.

    Args:
        level_s: for how long requests begin at each number of callers.
        most: callers at once, where the replicas set no bound.
        prompt_words: of the prompts that are read.
        completion_tokens: of the completions that are written, at most.
    """

    level_s: float = 4.0
    most: int = 64
    prompt_words: int = 300
    completion_tokens: int = 64


USUAL: Final = Effort()


@dataclass(frozen=True, slots=True)
class _Run:
    """What requests of one level used together, in how many seconds."""

    concurrency: int
    usage: Usage
    images: int
    took_s: float


class Calibrator:
    """Calibrates one deployment.

    Args:
        lender: lends its replicas.
        settings: the deployment's.
        machine: where they run: this one, or the cluster.
        effort: how much is tried.
    """

    def __init__(self, lender: Lender, settings: DeploymentSettings, machine: str, effort: Effort = USUAL) -> None:
        self._lender = lender
        self._machine = machine
        self._settings = settings
        self._effort = effort
        self._levels: list[Level] = []
        self._lease: Lease | None = None
        self._images = 0
        self._dice = random.Random(secrets.randbits(64))  # noqa: S311  # words that no replica has read before

    async def run(self) -> Calibration:
        """Measure; takes some half a minute for a small model.

        Raises:
            Conflict: it has no replica that is ready.
            EngineFailed, EngineTimeout, EngineUnavailable: a replica does not answer.
        """
        name, task = self._settings.name, self._settings.task
        traits = await self._lender.traits(name)
        async with self._lender.acquire(name):
            pass  # one that is unloaded is loaded
        before = self._ready()
        log.info("deployment_calibrating", deployment=name, replicas=before[0])
        prompt = completion = images = 0.0
        cached: float | None = None
        if task == "images":
            images = _most(await self._rising("pictures", self._painting(traits), traits, _pictures), _pictures)
        elif task == "embeddings":
            prompt = _most(await self._rising("prompt", self._embedding, traits, _prompts), _prompts)
        else:
            reading = self._writing(traits, self._words, 1)
            runs = await self._rising("prompt", reading, traits, _prompts)
            prompt = _most(runs, _prompts)
            cached = await self._cached(traits, prompt)
            writing = self._writing(traits, self._task, self._effort.completion_tokens)
            runs = await self._rising("completion", writing, traits, _completions)
            completion = max(_written(run, prompt) for run in runs)
        found = self._found(before, prompt, cached, completion, images)
        log.info("deployment_calibrated", deployment=name, units=found.units, replicas=found.replicas)
        return found

    def _found(
        self, before: tuple[int, bool], prompt: float, cached: float | None, completion: float, images: float
    ) -> Calibration:
        settings, lease = self._settings, self._lease
        assert lease is not None, "what was measured was lent"
        return Calibration(
            deployment=settings.name,
            task=settings.task,
            model=settings.model,
            engine=lease.engine,
            version=version_of(get_engine(lease.engine).package),
            weights_sha256=lease.weights_sha256,
            machine=self._machine,
            fixed=fixed(settings),
            replicas=before[0],
            prompt_per_s=round(prompt, 3),
            cached_per_s=None if cached is None else round(cached, 3),
            completion_per_s=round(completion, 3),
            images_per_s=round(images, 6),
            levels=tuple(self._levels),
            disturbed=before[1],
            measured_at=now(),
        )

    def _ready(self) -> tuple[int, bool]:
        """How many replicas are ready, and whether others ask them for something."""
        status: DeploymentStatus = self._lender.status(self._settings.name)
        ready = sum(replica.state is ReplicaState.READY for replica in status.replicas)
        if not ready:
            raise Conflict(f"The deployment '{self._settings.name}' has no replica that is ready.")
        return ready, bool(status.waiting or sum(replica.in_flight for replica in status.replicas))

    async def _rising(
        self, kind: str, one: One, traits: Traits, amount: Callable[[_Run], int], first: int = 1
    ) -> Sequence[_Run]:
        """Have one, two, four callers at once and so on, as long as that brings more."""
        bound = min(self._effort.most, (traits.parallel or self._effort.most) * self._ready()[0])
        runs: list[_Run] = []
        best, concurrency, in_vain = 0.0, first, 0
        await one()  # the first one finds caches and threads cold
        while True:
            run = await self._level(one, concurrency)
            runs.append(run)
            per_s = amount(run) / run.took_s
            self._levels.append(Level(kind, concurrency, round(per_s, 3)))
            in_vain = 0 if per_s > best * _GAIN else in_vain + 1
            late = run.took_s > self._effort.level_s * _TOO_LONG
            if in_vain == _IN_VAIN or concurrency >= bound or late:
                return runs
            best, concurrency = max(best, per_s), min(2 * concurrency, bound)

    async def _level(self, one: One, concurrency: int) -> _Run:
        """So many callers, each with one request after the other for a while."""
        used: list[Usage] = []
        before, begun = self._images, time.perf_counter()

        async def caller() -> None:
            while True:
                used.append(await one())
                if time.perf_counter() - begun >= self._effort.level_s:
                    return

        try:
            async with asyncio.TaskGroup() as group:
                for _ in range(concurrency):
                    group.create_task(caller())
        except* FreeholdError as failed:
            raise failed.exceptions[0] from None
        took_s = time.perf_counter() - begun
        return _Run(concurrency, sum(used, Usage()), self._images - before, took_s)

    async def _cached(self, traits: Traits, prompt_per_s: float) -> float | None:
        """Tokens a second of a prompt that one caller sends over and over; None where nothing tells of a cache."""
        text = self._words()
        again = self._writing(traits, lambda: text, 1)
        await again()
        run = await self._level(again, 1)
        usage = run.usage
        if usage.cached_tokens * 2 < usage.prompt_tokens:
            return None
        rest_s = run.took_s - (usage.prompt_tokens - usage.cached_tokens) / prompt_per_s
        per_s = max(prompt_per_s, usage.cached_tokens / max(rest_s, run.took_s * _LEAST_SHARE))
        self._levels.append(Level("cached", 1, round(per_s, 3)))
        return per_s

    def _task(self) -> str:
        """What takes long to answer, and begins as nothing did before."""
        return f"The {self._dice.choice(_WORDS)} and the {self._dice.choice(_WORDS)}. {_TASK}"

    def _words(self) -> str:
        """A prompt that nobody has read, or will read again."""
        context = self._settings.context_length or 4096
        count = max(4, min(self._effort.prompt_words, context // 4))
        return " ".join(self._dice.choice(_WORDS) for _ in range(count))

    def _writing(self, traits: Traits, text: Callable[[], str], tokens: int) -> One:
        """A request for a text of so many tokens at most, as a conversation where the engine takes those."""
        name, chat = self._settings.model, Feature.CHAT in traits.features

        async def one() -> Usage:
            needs = frozenset({Feature.CHAT if chat else Feature.COMPLETION})
            async with self._lender.acquire(self._settings.name, needs) as lease:
                self._lease = lease
                if chat:
                    message = {"role": "user", "content": text()}
                    body = {"model": name, "messages": [message], "max_completion_tokens": tokens}
                    events = lease.connection.chat(ChatRequest.model_validate(body))
                else:
                    order = CompletionRequest.model_validate({"model": name, "prompt": text(), "max_tokens": tokens})
                    events = lease.connection.complete(order, order.prompts[0])
                with lease.own.call() as call:
                    async with aclosing(events):
                        async for event in events:
                            if isinstance(event, Usage):
                                call.usage = event
                return call.usage or Usage()

        return one

    async def _embedding(self) -> Usage:
        async with self._lender.acquire(self._settings.name, frozenset({Feature.EMBEDDINGS})) as lease:
            self._lease = lease
            with lease.own.call() as call:
                call.usage = (await lease.connection.embed([self._words()], None)).usage
            return call.usage

    def _painting(self, traits: Traits) -> One:
        size = traits.sizes[0] if traits.sizes else "auto"

        async def one() -> Usage:
            order = PaintRequest(PictureOperation.GENERATION, "A red boat", 1, size, self._dice.randrange(2**31))
            async with self._lender.acquire(self._settings.name, frozenset({Feature.IMAGES})) as lease:
                self._lease = lease
                with lease.own.call() as call:
                    async with aclosing(lease.connection.paint(order)) as events:
                        async for event in events:
                            self._images += isinstance(event, Picture)
                            if isinstance(event, Usage):
                                call.usage = event
                return call.usage or Usage()

        return one


def _written(run: _Run, prompt_per_s: float) -> float:
    """Tokens of completions a second, less the time in which the prompts were read, as far as no cache had them."""
    read = run.usage.prompt_tokens - run.usage.cached_tokens
    reading_s = read / prompt_per_s if prompt_per_s else 0.0
    return run.usage.completion_tokens / max(run.took_s - reading_s, run.took_s * _LEAST_SHARE)


def _most(runs: Sequence[_Run], amount: Callable[[_Run], int]) -> float:
    """The most that was done in a second."""
    return max(amount(run) / run.took_s for run in runs)


def _prompts(run: _Run) -> int:
    return run.usage.prompt_tokens


def _completions(run: _Run) -> int:
    return run.usage.completion_tokens


def _pictures(run: _Run) -> int:
    return run.images
