"""How long the arbiter takes over what happens on ten thousand devices: processor time of each event.

python -m benchmarks.arbiter [--rounds 3]

The events are those of an hour of the scenario `supercomputer`, with its outage and a fiftieth of its callers, who do
not come to the arbiter. They are written down while it is simulated and then told again to an arbiter of their own.
"""

import argparse
import time
from collections.abc import Callable, Sequence
from statistics import fmean
from typing import Any, Final

from freehold.cluster.arbiter.arbiter import Arbiter
from freehold.simulation.scenario import Scenario, load_scenario
from freehold.simulation.world import World

Call = tuple[str, tuple[Any, ...]]

FEWER: Final = 50
"""So many callers of the scenario become one."""
TOLD: Final = ("set_node", "submit", "release", "yielded", "advance")
SHARES: Final = (0.5, 0.9, 0.95, 0.99, 0.999)


class Scribe(Arbiter):
    """An arbiter that writes down what it is told."""

    def __init__(self, scenario: Scenario) -> None:
        super().__init__(scenario.share)
        self.calls: list[Call] = []
        for name in TOLD:
            setattr(self, name, self._noted(name, getattr(self, name)))

    def _noted(self, name: str, tell: Callable[..., Any]) -> Callable[..., Any]:
        def noted(*given: Any) -> Any:
            self.calls.append((name, given))
            return tell(*given)

        return noted


def events() -> tuple[Scenario, Sequence[Call]]:
    """The scenario, and what its arbiter was told in an hour."""
    scenario = load_scenario("supercomputer")
    callers = [
        caller.model_copy(
            update={"arrivals": caller.arrivals.model_copy(update={"per_hour": caller.arrivals.per_hour / FEWER})}
        )
        for caller in scenario.caller
    ]
    scenario = scenario.model_copy(update={"caller": callers})
    scribe = Scribe(scenario)
    World(scenario, arbiter=scribe).run()
    return scenario, scribe.calls


def times(scenario: Scenario, calls: Sequence[Call]) -> list[float]:
    """The microseconds of processor time that each event took, its deadline looked at as the service does."""
    arbiter, found = Arbiter(scenario.share), []
    for name, given in calls:
        began = time.thread_time_ns()
        getattr(arbiter, name)(*given)
        _ = arbiter.next_deadline_s
        found.append((time.thread_time_ns() - began) / 1000)
    return found


def main() -> None:
    """Tell the events again and again, and print what each took at least."""
    parser = argparse.ArgumentParser(description="How long the arbiter takes over an event on ten thousand devices.")
    parser.add_argument("--rounds", type=int, default=3, help="how often; of each event the shortest time counts")
    scenario, calls = events()
    least = sorted(map(min, zip(*(times(scenario, calls) for _ in range(parser.parse_args().rounds)), strict=True)))
    print(f"{len(calls):,} events, {sum(least) / 1e6:.2f} s of processor time, {fmean(least):.0f} us each")
    for share in SHARES:
        print(f"p{share * 100:g}: {least[min(len(least) - 1, int(share * len(least)))]:.0f} us")
    print(f"longest: {least[-1]:.0f} us")


if __name__ == "__main__":
    main()
