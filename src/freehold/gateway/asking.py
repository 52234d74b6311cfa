"""Models that the service itself asks on somebody's behalf: to be evaluated, or to judge.

Each such request goes the way of every other: it is authorized, limited, filtered, metered, and has a receipt.
"""

from collections.abc import Mapping
from typing import Any, Protocol

from freehold.types.identity import Principal
from freehold.types.receipt import Scalar


class Asker(Protocol):
    """On whose behalf models are asked."""

    def principal(self) -> Principal:
        """Whoever it is, as it would be let in now.

        Raises:
            Unauthenticated: it would not be.
            ProjectKeyRevoked: nothing is done for its project.
        """


class Requests(Protocol):
    """What asks models."""

    async def ask(
        self, asker: Asker, operation: str, body: Mapping[str, Any], notes: Mapping[str, Scalar]
    ) -> Mapping[str, Any]:
        """Have a request answered.

        Args:
            asker: on whose behalf.
            operation: such as `/v1/chat/completions`.
            body: the request's body, as a caller would send it.
            notes: what its receipt says it was made for, such as `{"eval_run": "evalrun_…"}`.

        Returns:
            The answer's body.

        Raises:
            RateLimited, Unavailable: it can be tried again.
            FreeholdError: it was refused, or no engine could answer.
        """
