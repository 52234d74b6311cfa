"""The life of one replica: prepare, start, serve, and again after a failure, until it is retired.

One task lives it. Knows its own engine only; how many replicas there are to be, and which one takes a request,
is `freehold.serving.replica_set`'s business.
"""

import asyncio
import contextlib
import time
from collections.abc import Callable
from typing import Any, Never

import structlog

from freehold.cluster.base import Hosted
from freehold.config import SupervisorSettings
from freehold.engines.base import Connection, EngineSpec
from freehold.errors import EngineFailed, EngineTimeout, EngineUnavailable, FreeholdError, InternalError
from freehold.serving.backoff import Backoff, permanent, refused
from freehold.serving.launching import Launching
from freehold.serving.opening import opened
from freehold.serving.own_use import OwnUse
from freehold.serving.preparation import Preparation
from freehold.serving.prompt_cache import Watch
from freehold.serving.status import Lease, ReplicaStatus, Whereabouts
from freehold.serving.tasks import cancel, to_the_end
from freehold.types.deployment import ReplicaState
from freehold.types.engine import EngineCounters, Traits

_SUSPICIOUS = (EngineFailed, EngineTimeout, EngineUnavailable)
_TERMINATE_SHARE = 0.7
"""The part of `stop_timeout_s` in which an engine may end by itself; the rest is for killing it."""
_CLOSE_TIMEOUT_S = 2.0


class Replica:
    """One replica, alive from its making until `ended`.

    Args:
        replica_id: unique in this run.
        deployment: the deployment's name, for the log.
        preparation: makes the engine's specification.
        launching: starts the engine.
        limits: times and intervals.
        on_change: called after every change of its state or of what it can take.

    Attributes:
        state: where it is in its life.
        traits: what the engine turned out to be; without a feature until it was ready.
        connection: the way to the running engine; None while there is none that could take a request.
        suspect: whether a request broke off on it and the probe which that caused is yet to succeed.
        in_flight: requests that it works on for this process.
        slots: how many of these there may be; None where there is no bound.
        launching: starts its engine.
        retry_at: the loop's time of the next attempt, while backing off.
        nodes: the ids of the cluster's nodes where its engine runs; none while there is no engine, or it is elsewhere.
        failure: what went wrong last, its message fit for callers; the status's `error` says more.
    """

    def __init__(
        self,
        replica_id: str,
        deployment: str,
        preparation: Preparation,
        launching: Launching,
        limits: SupervisorSettings,
        on_change: Callable[["Replica"], None],
    ) -> None:
        self.id = replica_id
        self.state = ReplicaState.STARTING
        self.traits = Traits(features=frozenset())
        self.connection: Connection | None = None
        self.suspect = self.retiring = False
        self.in_flight = self._starts = 0
        self.slots: int | None = None
        self.retry_at = 0.0
        self.failure: FreeholdError | None = None
        self.ended = asyncio.Event()
        self._log = structlog.get_logger(__name__).bind(deployment=deployment, replica=replica_id)
        self._preparation = preparation
        self.launching = launching
        self._limits = limits
        self._on_change = on_change
        self._loop = asyncio.get_running_loop()
        self._backoff = Backoff(limits)
        self._probe_now = asyncio.Event()
        self._idle = asyncio.Event()
        self._idle.set()
        self._spec: EngineSpec | None = None
        self._whereabouts: Whereabouts | None = None
        self._process: Hosted | None = None
        self.nodes: tuple[str, ...] = ()
        self._to_close: Connection | None = None
        self._own = OwnUse()
        self._tail: tuple[str, ...] = ()
        self._error: str | None = None
        self._progress: str | None = None
        self._started_at: float | None = None
        self._ready_since: float | None = None
        self._retirement: asyncio.Task[None] | None = None
        self._draining: asyncio.Task[None] | None = None
        self._life = asyncio.create_task(self._live(), name=f"replica {replica_id}")
        self._life.add_done_callback(self._end)

    @property
    def usable(self) -> bool:
        """Whether it can take a request now."""
        return self.connection is not None and not self.retiring

    @property
    def free(self) -> bool:
        """Whether it can take a request now, and works on fewer than it does at once."""
        return self.usable and (self.slots is None or self.in_flight < self.slots)

    @property
    def doubt(self) -> int:
        """0 for one that answered its last probe, more for one to be chosen only where there is no better."""
        return 2 if self.state is ReplicaState.UNHEALTHY else int(self.suspect)

    @property
    def hopeless(self) -> bool:
        """Whether its last failure seems to be one that time does not mend."""
        return self._backoff.hopeless

    @property
    def given_up(self) -> bool:
        """Whether another engine had better serve in its place."""
        return self._backoff.given_up and self.state is ReplicaState.BACKING_OFF

    def status(self) -> ReplicaStatus:
        """What there is to see of it now."""
        return ReplicaStatus(
            id=self.id,
            state=self.state,
            pid=self._process.pid or None if self._process is not None else None,
            restarts=max(0, self._starts - 1),
            error=self._error,
            progress=self._progress,
            in_flight=self.in_flight,
            started_at=self._started_at,
            engine=self._preparation.engine,
            nodes=self.nodes,
        )

    def lend(self, watch: Watch | None = None) -> Lease:
        """Count a request in; `watch` is to be told how it goes.

        Raises:
            EngineUnavailable: it is not usable.
        """
        connection, spec = self.connection, self._spec
        if connection is None or spec is None or self.retiring:
            raise EngineUnavailable("The replica cannot take requests.")
        self.in_flight += 1
        self._idle.clear()
        engine, weights, report = spec.settings.engine, spec.weights_sha256, self._suspect_of
        return Lease(
            self.id, connection, self.traits, engine, weights, self._own, report, None, watch, self._whereabouts
        )

    def release(self) -> None:
        """Count a request out."""
        self.in_flight -= 1
        if self.in_flight == 0:
            self._idle.set()

    async def counters(self) -> EngineCounters | None:
        """What its engine says that it has done for callers; None for one that does not say, and where none is ready.

        Raises:
            EngineFailed, EngineTimeout, EngineUnavailable: it does not answer as it should.
        """
        return None if self.connection is None else await self._own.taken_off(self.connection.counters())

    def _suspect_of(self, connection: Connection, error: BaseException) -> None:
        """Hear of a request's failure on that connection; probe at once where the engine may be at fault."""
        if connection is self.connection and isinstance(error, _SUSPICIOUS):
            self.suspect = self.suspect or not isinstance(error, EngineTimeout)
            self._probe_now.set()

    def probe(self) -> None:
        """Probe its engine now, as somebody doubts it."""
        self._probe_now.set()

    def retire(self, drain_s: float) -> None:
        """Take no more requests, let the running ones finish for at most `drain_s`, then end.

        Called again with 0, it ends at once; otherwise the first time counts.
        """
        if drain_s <= 0 or not self.usable:
            self._idle.set()
            if self._draining is not None:
                self._draining.cancel()
        if self._retirement is None and not self.ended.is_set():
            self._log.info("replica_draining", in_flight=self.in_flight)
            self._enter(ReplicaState.DRAINING)
            self.retiring = True
            self._retirement = asyncio.create_task(self._retire(drain_s), name=f"retire {self.id}")

    async def _retire(self, drain_s: float) -> None:
        """Wait for the running requests or for the engine's own end, then end the life."""
        idle = self._draining = asyncio.create_task(self._unused())
        await asyncio.wait({idle, self._life}, timeout=drain_s, return_when=asyncio.FIRST_COMPLETED)
        idle.cancel()
        self._life.cancel()
        await asyncio.wait({idle, self._life})

    async def _unused(self) -> None:
        """Wait until nobody has requests on it."""
        await self._idle.wait()
        await self.launching.unused()

    async def _live(self) -> None:
        """Serve, and again after each failure, until retired."""
        while not self.retiring:
            error = await self._attempt()
            if not self.retiring:
                await self._back_off(error)

    def _end(self, life: "asyncio.Task[None]") -> None:
        """Note that the life is over, even if it never began."""
        defect = None if life.cancelled() else life.exception()
        if defect is not None:
            self._log.error("replica_defect", exc_info=defect)
        self._enter(ReplicaState.STOPPED)
        self.retiring = True
        self._log.info("replica_stopped", restarts=max(0, self._starts - 1))
        self.ended.set()

    async def _back_off(self, error: FreeholdError) -> None:
        """Say what went wrong and wait before the next attempt."""
        ready_s = None if self._ready_since is None else self._loop.time() - self._ready_since
        delay_s = self._backoff.after_failure(ready_s=ready_s, permanent=permanent(error))
        self.failure = error
        self._error = "\n".join((error.message, *self._tail))
        self.retry_at = self._loop.time() + delay_s
        self._log.warning("replica_restarting", error=error.message, delay_s=round(delay_s, 3), starts=self._starts)
        self._enter(ReplicaState.BACKING_OFF)
        await (self.launching.possible() if refused(error) else asyncio.sleep(delay_s))

    async def _attempt(self) -> FreeholdError:
        """Serve until something goes wrong; returns what."""
        self._ready_since = None
        self._tail = ()
        try:
            await self._serve()
        except FreeholdError as exc:
            return exc
        except OSError as exc:
            return EngineFailed(f"the system refused what the replica needs: {exc.strerror or type(exc).__name__}")
        # The edge of a life: a defect in an engine or in the preparation is logged in full, shown without its
        # text, and followed by the next attempt like any other failure.
        except Exception as exc:  # noqa: BLE001
            self._log.exception("replica_defect")
            return InternalError(f"an internal error ({type(exc).__name__}); the log has its details")
        finally:
            self.suspect = False
            self._progress = None
            self._started_at = None

    async def _serve(self) -> Never:
        """Prepare, start and serve. Ends only by an error, or cancelled; the engine is gone then."""
        self._enter(ReplicaState.STARTING)
        spec = self._spec = await self.launching.prepared(self._preparation, self._fetching)
        self._starts += 1
        self._started_at = time.time()
        self._log.info("replica_starting", engine=spec.settings.engine, attempt=self._starts)
        self._progress = None
        self._enter(ReplicaState.STARTING)
        started = await self.launching.start(spec, self._log, self._fetching)
        self._whereabouts, self.nodes = started.whereabouts, started.nodes
        connection = self._to_close = started.connection
        try:
            self._progress = None
            self._enter(ReplicaState.STARTING)
            if started.process is None:
                await self._open_and_watch(connection, local=False)
            self._process = started.process
            await self._run(self._process, connection)
        finally:
            self._process, self.nodes = None, ()
            self.launching.clear()
            await to_the_end(self._close())

    async def _run(self, process: Hosted, connection: Connection) -> Never:
        """Serve for as long as the process runs. Ends only by an error, or cancelled; the process is gone then."""
        work = asyncio.create_task(self._open_and_watch(connection, local=True), name=f"watch {self.id}")
        began = self._loop.time()
        try:
            ends: set[asyncio.Future[Any]] = {work, process.exited}
            await asyncio.wait(ends, return_when=asyncio.FIRST_COMPLETED)
            self.connection = None
            if not process.exited.done():
                work.result()  # raises; it ends no other way
            await process.read_rest()
            raise EngineFailed(process.describe_exit())
        except asyncio.CancelledError:
            await cancel(work)
            await self._close()  # an engine that is asked to end waits for its open connections
            await process.terminate(self._limits.stop_timeout_s * _TERMINATE_SHARE)
            raise
        finally:
            work.cancel()
            await to_the_end(self._clear(process, began))
            await cancel(work)

    async def _clear(self, process: Hosted, began: float) -> None:
        """See to it that the process is gone, and keep what it said last. `began` is the loop's time of its start."""
        gone = await process.kill()
        self._tail = tuple(process.tail)
        seconds = round(self._loop.time() - began, 3)
        if gone:
            self._log.info("replica_exited", pid=process.pid, code=process.exited.result(), seconds=seconds)
        else:
            self._log.error("replica_unkillable", pid=process.pid, seconds=seconds)

    async def _open_and_watch(self, connection: Connection, *, local: bool) -> Never:
        """Wait until the engine is ready, then probe it. A `local` one ends with an error when it is hung."""
        began = self._loop.time()
        told = await opened(connection, self._limits, local=local, tell=self._tell)
        self.traits = self.launching.traits_of(told)
        self.slots = self.traits.parallel
        self.connection, self._own = connection, await self.launching.own_use(connection)
        self._ready_since = self._loop.time()
        self._progress = self._error = self.failure = None
        self._log.info("replica_ready", seconds=round(self._ready_since - began, 3), starts=self._starts)
        self._enter(ReplicaState.READY)
        try:
            await self._watch(connection, local=local)
        finally:
            self.connection = None

    async def _watch(self, connection: Connection, *, local: bool) -> Never:
        """Probe the engine; one that answers no probe for `probe_timeout_s` is unhealthy.

        It takes two probes to say so: the time may have passed because this process, not the engine, stood still.
        """
        interval_s, patience_s = self._limits.probe_interval_s, self._limits.probe_timeout_s
        answered, misses = self._loop.time(), 0
        while True:
            if misses != 1 or self._loop.time() - answered < patience_s:
                await self._pause(interval_s)
            left_s = answered + patience_s - self._loop.time()
            try:
                async with asyncio.timeout(max(left_s, interval_s)):
                    await connection.check()
            except (FreeholdError, TimeoutError):
                misses += 1
            else:
                answered, misses = self._loop.time(), 0
                self._vindicate()
                continue
            silent_s = self._loop.time() - answered
            if silent_s >= patience_s and misses >= 2 and self.state is not ReplicaState.UNHEALTHY:
                self._log.warning("replica_unhealthy", silent_s=round(silent_s, 3), probes=misses)
                self._enter(ReplicaState.UNHEALTHY)
                if local:
                    raise EngineFailed(f"the engine answered no health check for {silent_s:.0f} s")

    def _vindicate(self) -> None:
        """Take note of a probe that succeeded, unless a suspicion came up while it ran."""
        self._enter(ReplicaState.READY)
        if self.suspect and not self._probe_now.is_set():
            self.suspect = False
            self._on_change(self)

    async def _pause(self, seconds: float) -> None:
        """Sleep between two probes; a suspicion ends it early."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                await self._probe_now.wait()
        self._probe_now.clear()

    def _tell(self, text: str) -> None:
        """Hear why the engine does not answer yet."""
        self._progress = text

    def _fetching(self, text: str) -> None:
        """Hear how far the preparation is."""
        self._progress = text
        if self.state is ReplicaState.STARTING:
            self._enter(ReplicaState.FETCHING)

    async def _close(self) -> None:
        """Close the connection, if that was not done yet."""
        connection, self._to_close = self._to_close, None
        if connection is None:
            return
        try:
            async with asyncio.timeout(_CLOSE_TIMEOUT_S):
                await connection.close()
        # The engine is gone already: that its connection cannot be closed in good order is only worth a line.
        except Exception:  # noqa: BLE001
            self._log.exception("connection_close_failed")

    def _enter(self, state: ReplicaState) -> None:
        """Change the state; a retiring replica stays as it is until it stops."""
        if state is not self.state and (not self.retiring or state is ReplicaState.STOPPED):
            self.state = state
            self._on_change(self)
