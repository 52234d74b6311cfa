"""What runs of evaluations come to: the means of their criteria with intervals, and how two runs differ.

An item without a score counts as 0: an answer that could not be had is none. Scores are brought into 0 to 1.
"""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from statistics import fmean
from typing import Any

from freehold.gateway.evaluation_store import EvaluationStore
from freehold.gateway.intervals import Comparison, Interval, compare, mean_of
from freehold.store.evaluations import completed_runs, evals_of, scores_of


@dataclass(frozen=True, slots=True)
class Result:
    """What a run has come to.

    Args:
        value: the mean score of its items, from 0 to 1; of an item, that of its criteria.
        low: the lower end of its 95 % interval.
        high: the upper end.
        count: of how many items.
        errored: how many of them could not be asked or graded, and count as 0.
        eval_id: the evaluation.
        run_id: the run.
        ended_at: in seconds since the epoch.
    """

    value: float
    low: float
    high: float
    count: int
    errored: int
    eval_id: str
    run_id: str
    ended_at: int


class EvaluationResults:
    """The results of evaluations.

    Every method may raise ContentUnreadable, ProjectKeyRevoked or KeyServiceUnavailable where names cannot be
    decrypted, and HomeError where the database cannot be used.

    Args:
        store: where evaluations lie.
    """

    def __init__(self, store: EvaluationStore) -> None:
        self._store = store

    async def of(self, organization_id: str, project_id: str, model: str) -> Mapping[str, Result]:
        """The newest finished result of each evaluation of a project on a model, by the evaluation's name.

        Only runs count in which Freehold itself asked the model, and which are of whom the evaluation is. A name that
        evaluations of several owners have is left out: nobody's evaluation passes for another's.

        Args:
            organization_id: of the project.
            project_id: whose evaluations; those of its members too.
            model: as the asked deployment named its model when the run was made.
        """
        store, found = self._store, dict[str, Result]()
        rows = await completed_runs(store.database, organization_id, project_id, model, store.clock())
        if not rows:
            return found
        names, disputed = await self._names(organization_id, project_id)
        seen: set[str] = set()
        for eval_row, run in rows:
            name = names.get(eval_row.id)
            if eval_row.id in seen or name is None or name in disputed:
                continue
            seen.add(eval_row.id)
            scores = await scores_of(store.database, run.id)
            if name in found or not scores:
                continue
            mean = mean_of(item_scores(scores))
            found[name] = Result(
                mean.mean,
                mean.low,
                mean.high,
                mean.count,
                run.errored,
                eval_row.id,
                run.id,
                run.ended_at or run.created_at,
            )
        return found

    async def _names(self, organization_id: str, project_id: str) -> tuple[dict[str, str], set[str]]:
        """The names of a project's evaluations by their ids, and those that evaluations of several owners have."""
        names: dict[str, str] = {}
        owners: dict[str, set[str]] = {}
        for row in await evals_of(self._store.database, organization_id, project_id, self._store.clock()):
            names[row.id] = name = (await self._store.opened(row)).name
            owners.setdefault(name, set()).add(row.owner_id)
        return names, {name for name, whose in owners.items() if len(whose) > 1}

    async def report(self, names: Sequence[str], run_id: str) -> dict[str, Any]:
        """What a run has come to so far, by criterion."""
        scores = await scores_of(self._store.database, run_id)
        return {
            "overall": _told(mean_of(item_scores(scores))) if scores else None,
            "criteria": [
                {
                    "name": name,
                    "score": _told(mean_of(_column(scores, place))) if scores else None,
                    "errors": sum(each[place] is None for each in scores.values()),
                }
                for place, name in enumerate(names)
            ],
        }

    async def comparison(self, names: Sequence[str], run_id: str, other_id: str) -> dict[str, Any] | None:
        """How the run differs from another of the same evaluation, over the items of both; None if there are none."""
        mine = await scores_of(self._store.database, run_id)
        return compared(names, await scores_of(self._store.database, other_id), mine)


def compared(
    names: Sequence[str], first: Mapping[int, Sequence[float | None]], second: Mapping[int, Sequence[float | None]]
) -> dict[str, Any] | None:
    """How the second of two runs differs from the first; None where no item is in both."""
    both = sorted(set(first) & set(second))
    if not both:
        return None
    one, other = ({number: run[number] for number in both} for run in (first, second))
    return {
        "items": len(both),
        "overall": _compared(compare(item_scores(one), item_scores(other))),
        "criteria": [
            {"name": name, **_compared(compare(_column(one, place), _column(other, place)))}
            for place, name in enumerate(names)
        ],
    }


def item_scores(scores: Mapping[int, Sequence[float | None]]) -> list[float]:
    """The mean score of each item's criteria, in the items' order."""
    return [fmean(score or 0.0 for score in scores[number]) for number in sorted(scores)]


def _column(scores: Mapping[int, Sequence[float | None]], place: int) -> list[float]:
    return [scores[number][place] or 0.0 for number in sorted(scores)]


def _told(interval: Interval) -> dict[str, Any]:
    return asdict(interval)


def _compared(found: Comparison) -> dict[str, Any]:
    return {
        "difference": _told(found.difference),
        "better": found.better,
        "worse": found.worse,
        "p_value": found.p_value,
    }
