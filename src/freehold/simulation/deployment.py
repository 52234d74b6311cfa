"""One deployment: its synthetic replicas, lent by the service's own lending and queue."""

from collections.abc import Callable
from typing import Final

from freehold.errors import EngineUnavailable
from freehold.serving.autoscale import Autoscaler, Observation
from freehold.serving.choice import Wish, hopeful, room, surplus
from freehold.serving.lending import Lending
from freehold.serving.prompt_cache import PromptCache
from freehold.serving.scaling import LOOK_S
from freehold.simulation.agenda import Agenda
from freehold.simulation.engine import Replica
from freehold.simulation.scenario import Deployed
from freehold.types.deployment import ReplicaState
from freehold.types.engine import Feature, Traits

_LOAD_PATIENCE_S: Final = 300.0
"""How long a request waits for the first replica of a deployment that was scaled to 0; `start_timeout_s` by default."""


class Deployment:
    """What `freehold.serving.replica_set` is in the service: how many replicas there are to be, and which go.

    Args:
        settings: what is deployed.
        agenda: the time.
        ask_for: has a replica placed.
        give_up: takes back what was asked for, placed or not; the replica serves nobody any more.

    Attributes:
        replicas: those that serve or are to.
        leaving: those that finish what they do.
        wanted: how many there are to be.
    """

    def __init__(
        self,
        settings: Deployed,
        agenda: Agenda,
        ask_for: Callable[["Deployment", Replica], None],
        give_up: Callable[[Replica], None],
    ) -> None:
        self.settings = settings
        self.name = settings.name
        self.rank = settings.rank
        self.replicas: list[Replica] = []
        self.leaving: list[Replica] = []
        self.wanted = 0
        self.tokens = 0
        """Completion tokens that were made, of finished requests."""
        self.tokens_read = 0
        """Prompt tokens of the same."""
        self.scalings = 0
        self._scaler = None if settings.autoscale is None else Autoscaler(settings.autoscale, settings.replicas)
        self._counted = 0
        self._agenda = agenda
        self._ask_for = ask_for
        self._give_up = give_up
        self._traits = Traits(features=frozenset({Feature.CHAT}), parallel=settings.model.parallel)
        self._number = 0
        self._from_zero = False
        self.last_used = 0.0
        self.lending: Lending[Replica, None] = Lending(self.name, self, PromptCache("off"), agenda.clock)

    def want(self, count: int) -> None:
        """Have that many replicas: ask for those that are missing, and retire those that are too many."""
        self._from_zero = self.wanted == 0 and count > 0 and self._agenda.now > 0
        self.wanted = count
        for replica in surplus(self.replicas, count):
            self._retire(replica)
        while len(self.replicas) < count:
            self._number += 1
            replica = Replica(f"{self.name}-{self._number}", self.settings.model, self._traits, self._agenda)
            self.replicas.append(replica)
            self._ask_for(self, replica)
        self.lending.announce()

    @property
    def ready(self) -> int:
        """How many replicas serve."""
        return sum(replica.usable for replica in self.replicas)

    def placed(self, replica: Replica) -> None:
        """A replica has got its place: it loads its model, and then serves. At the beginning all are loaded."""
        load_s = self.settings.model.load_s if self._agenda.now > 0 else 0.0
        self._agenda.at(self._agenda.now + load_s, self._loaded, replica)

    def lost(self, replica: Replica) -> None:
        """A replica's node is gone; another one is asked for in its stead, unless it was on its way out."""
        if replica in self.leaving:
            self.leaving.remove(replica)
        elif replica in self.replicas:
            self.replicas.remove(replica)
            self.lending.forget(replica)
            self.want(self.wanted)

    def begin(self) -> None:
        """Have the replicas that there are to be at first, and look from now on whether more or fewer are needed."""
        self.want(self.settings.replicas if self._scaler is None else self._scaler.wanted)
        if self._scaler is not None:
            self._agenda.at(self._agenda.now + LOOK_S, self._look)

    def load(self) -> None:
        """Somebody wants a replica: where there is none, have one."""
        if self._scaler is not None and self.wanted == 0:
            self._scale(self._scaler.wake(self._agenda.now))

    def _look(self, _nothing: None) -> None:
        """See what there is to do, and have as many replicas as that needs."""
        assert self._scaler is not None, "only a deployment that scales looks"
        now, tokens = self._agenda.now, self.tokens + self.tokens_read
        seen = Observation(
            at_s=now,
            ready=self.ready,
            running=sum(replica.in_flight for replica in (*self.replicas, *self.leaving)),
            waiting=self.lending.waiting,
            waited_s=self.lending.waited_s,
            slots=self.settings.model.parallel,
            tokens_per_s=(tokens - self._counted) / LOOK_S,
        )
        self._counted = tokens
        self._scale(self._scaler.look(seen))
        self._agenda.at(now + LOOK_S, self._look)

    def _scale(self, count: int) -> None:
        if count != self.wanted:
            self.scalings += 1
            self.want(count)

    def serving(self) -> list[Replica]:
        """See `Outlook.serving`."""
        return self.replicas

    def room(self) -> int:
        """See `Outlook.room`."""
        return room(self.settings.queue, self.replicas, self.wanted, self.settings.model.parallel)

    def limit_s(self, patience_s: float) -> float:
        """See `Outlook.limit_s`."""
        return _LOAD_PATIENCE_S if self._from_zero else patience_s

    def hopeful(self, wish: Wish, left_s: float) -> bool:
        """See `Outlook.hopeful`."""
        return hopeful(self.replicas, wish, self._agenda.now, left_s, loading=self._from_zero)

    def unavailable(self, wish: Wish) -> EngineUnavailable:  # noqa: ARG002  # why is not looked at here
        """See `Outlook.unavailable`."""
        return EngineUnavailable(f"No replica of `{self.name}` can take the request.", retry_after_s=1.0)

    def used(self) -> None:
        """See `Outlook.used`."""
        self.last_used = self._agenda.now

    def _loaded(self, replica: Replica) -> None:
        if replica.state is ReplicaState.STARTING:
            replica.ready()
            self._from_zero = False
            self.lending.announce()

    def _retire(self, replica: Replica) -> None:
        self.replicas.remove(replica)
        self.lending.forget(replica)
        busy = replica.in_flight > 0
        replica.retire()
        if busy:
            self.leaving.append(replica)
            replica.on_idle = self._drained
        else:
            self._give_up(replica)

    def _drained(self, replica: Replica) -> None:
        if replica in self.leaving:
            self.leaving.remove(replica)
            self._give_up(replica)
