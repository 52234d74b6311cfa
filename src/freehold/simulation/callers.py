"""Callers: when they come, and how much they ask for."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Protocol

from freehold.simulation.agenda import Agenda
from freehold.simulation.deployment import Deployment
from freehold.simulation.draws import arrival_times, generator, spread
from freehold.simulation.scenario import Caller


class Desk(Protocol):
    """Where callers come."""

    def ask(self, asker: "Asker", prompt_tokens: int, completion_tokens: int) -> object:
        """Take a request, and everything that comes of it."""


class Asker:
    """One caller.

    Args:
        settings: how often it comes, and with what.
        project: on whose limits it counts.
        candidates: its deployment, and the fallbacks of that.
        agenda: the time.
        seed: of the simulation.
        name: unique among all callers.
    """

    def __init__(
        self,
        settings: Caller,
        project: str,
        candidates: Sequence[Deployment],
        agenda: Agenda,
        seed: int,
        name: str,
    ) -> None:
        self.organization = settings.organization
        self.project = project
        self.candidates = candidates
        self.rank = candidates[0].rank
        self.tier = settings.tier
        self.max_tokens = settings.max_tokens or round(settings.completion_tokens.most)
        self.gives_up_s = settings.gives_up_s
        self._agenda = agenda
        self._times: Iterator[float] = arrival_times(generator(seed, name), settings.arrivals, agenda.starts_at)
        chance = generator(seed, f"{name}/lengths")
        self._prompt: Callable[[], float] = spread(chance, settings.prompt_tokens)
        self._completion: Callable[[], float] = spread(chance, settings.completion_tokens)

    def begin(self, desk: Desk) -> None:
        """Come to the desk from now on."""
        self._next(desk)

    def _come(self, desk: Desk) -> None:
        self._next(desk)
        desk.ask(self, max(1, round(self._prompt())), max(1, round(self._completion())))

    def _next(self, desk: Desk) -> None:
        when = next(self._times, None)
        if when is not None:
            self._agenda.at(when, self._come, desk)


def askers(callers: Sequence[Caller], deployments: Mapping[str, Deployment], agenda: Agenda, seed: int) -> list[Asker]:
    """All callers, each with its own project where there are several alike."""
    found = []
    for settings in callers:
        first = deployments[settings.deployment]
        candidates = [first, *(deployments[name] for name in first.settings.fallbacks)]
        for number in range(1, settings.count + 1):
            many = settings.count > 1
            project = f"{settings.project}-{number}" if many else settings.project
            name = f"caller/{settings.name}/{number}"
            found.append(Asker(settings, project, candidates, agenda, seed, name))
    return found
