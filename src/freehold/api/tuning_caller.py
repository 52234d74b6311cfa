"""Whoever made a fine-tuning job, while it is worked on: with the rights that it has then, on an account of its own.

See `freehold.gateway.tuning_run.Caller`.
"""

import asyncio
from collections.abc import Mapping, Sequence
from typing import Any, Final, Literal

import orjson
from pydantic import TypeAdapter

from freehold.api.door import Door
from freehold.api.own_requests import OwnRequests
from freehold.catalog.deployments import Deployment
from freehold.errors import FreeholdError, InternalError
from freehold.gateway.account import Account
from freehold.gateway.bounds import Bounds
from freehold.gateway.flights import ClientGone
from freehold.gateway.grading import Grading, sample_of
from freehold.gateway.pipeline import Gateway
from freehold.gateway.tuning_base import Base
from freehold.gateway.tuning_run import Meter, Rewards
from freehold.gateway.tuning_store import Tuning
from freehold.governance.authorization import require
from freehold.types.deployment import Origin
from freehold.types.fine_tuning import FineTuningSettings
from freehold.types.generation import Usage
from freehold.types.graders import AnyGrader, Grade, Grader, RefusedGrader
from freehold.types.identity import Action, Principal
from freehold.types.ids import new_id
from freehold.types.price import FREE

ROUTE: Final = "/v1/fine_tuning/jobs"
"""As the receipts of trained tokens name what they are for."""
AT_ONCE: Final = 8
"""Answers that are graded at a time."""
_GRADER: Final[TypeAdapter[AnyGrader | RefusedGrader]] = TypeAdapter(Grader)


class TuningCaller:
    """See `freehold.gateway.tuning_run.Caller`.

    Args:
        gateway: keeps the books, and knows who is suspended.
        door: knows who the callers are now.
        settings: what trained tokens cost.
    """

    def __init__(self, gateway: Gateway, door: Door, settings: FineTuningSettings) -> None:
        self._gateway = gateway
        self._door = door
        self._price = settings.price_of_tokens() if settings.price else FREE
        self._grading = Grading(OwnRequests(gateway), gateway.content.evaluations.settings)

    def principal(self, tuning: Tuning) -> Principal:
        """Whoever made a job, as it would be let in now.

        Raises:
            Unauthenticated, ProjectKeyRevoked: it would not be.
        """
        row = tuning.row
        principal = self._door.returning(row.owner_id, row.project_id, row.key_id, row.auth_method)
        self._door.check_served(principal)
        return principal

    def check(self, tuning: Tuning) -> None:
        """See `Caller.check`."""
        self._opened(tuning)

    async def begin(self, tuning: Tuning, base: Base, tokens: int) -> Meter:
        """See `Caller.begin`."""
        principal, account = self._opened(tuning)
        account.principal = principal
        account.rated = False  # what trains for hours is no burst of requests
        account.parameters = {"method": tuning.row.method}
        account.notes |= {"fine_tuning_job": tuning.id}
        account.requested = base.settings.name
        settings = base.settings.model_copy(update={"price": (self._price,)})
        deployment = Deployment(settings, Origin.API, tuning.row.created_at)
        bounds = Bounds(tokens, 0, 0, 0)
        await self._gateway.books.admit(account, principal, [deployment], lambda _deployment: bounds)
        return _Meter(self._gateway, account)

    async def grade(self, tuning: Tuning, samples: Sequence[Mapping[str, Any]]) -> Rewards:
        """See `Caller.grade`."""
        self.check(tuning)
        method = orjson.dumps(tuning.header["method"]["reinforcement"]["grader"])
        grader, asker, places = _GRADER.validate_json(method), _Asker(self, tuning), asyncio.Semaphore(AT_ONCE)
        notes = {"fine_tuning_job": tuning.id}

        async def graded(sample: Mapping[str, Any]) -> Grade:
            async with places:
                answer = sample_of(str(sample["output_text"]))
                return await self._grading.grade(asker, grader, sample.get("item") or {}, answer, notes)

        try:
            async with asyncio.TaskGroup() as group:
                tasks = [group.create_task(graded(sample)) for sample in samples]
        except ExceptionGroup as failures:
            raise failures.exceptions[0] from None
        grades = [task.result() for task in tasks]
        rewards = [None if grade.problem is not None else grade.score for grade in grades]
        problems = [grade.problem.message for grade in grades if grade.problem is not None]
        return rewards, list(dict.fromkeys(problems))

    def _opened(self, tuning: Tuning) -> tuple[Principal, Account]:
        """Whoever made a job, and an account for what is done for it."""
        principal = self.principal(tuning)
        require(principal, Action.INFER, f"{ROUTE}/{tuning.id}")
        account = self._gateway.books.open(new_id("req_"), ROUTE, tuning.row.dialect)
        self._gateway.check_caller(principal, account)
        return principal, account


class _Asker:
    """See `freehold.gateway.asking.Asker`.

    Args:
        caller: knows who it is now.
        tuning: whose maker.
    """

    def __init__(self, caller: TuningCaller, tuning: Tuning) -> None:
        self._caller = caller
        self._tuning = tuning

    def principal(self) -> Principal:
        """See `Asker.principal`."""
        return self._caller.principal(self._tuning)


class _Meter:
    """See `Meter`.

    Args:
        gateway: keeps the books.
        account: of the run.
    """

    def __init__(self, gateway: Gateway, account: Account) -> None:
        self._gateway = gateway
        self._account = account

    async def end(self, tokens: int, outcome: Literal["finished", "cancelled", "failed"]) -> None:
        """See `Meter.end`."""
        error: FreeholdError | None = None
        if outcome == "cancelled":
            error = ClientGone("The training was stopped.")
        elif outcome == "failed":
            error = InternalError("The training broke off; what it did is charged with the run that goes on from it.")
        self._account.usage = Usage(prompt_tokens=0 if outcome == "failed" else tokens)
        done = self._gateway.books.close(self._account, error, 200 if error is None else error.status)
        if done is not None:
            await done
