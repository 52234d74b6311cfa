"""Counting the tokens of a conversation before it is answered."""

from collections.abc import Awaitable, Callable

from freehold.catalog.deployments import Deployment
from freehold.gateway.account import Account
from freehold.serving.lender import Lender
from freehold.types.chat import ChatRequest
from freehold.types.engine import Feature, Traits
from freehold.types.identity import Principal

PATIENCE_S = 10.0
"""How long a replica is waited for."""

Find = Callable[[Principal, ChatRequest, Account], Awaitable[tuple[Deployment, Traits, frozenset[Feature]]]]
"""The deployment that would answer a conversation, what it can do, and what the conversation needs."""


class TokenCounter:
    """Asks engines how many tokens a prompt has.

    Args:
        find: finds the deployment.
        supervisor: has its replicas.
    """

    def __init__(self, find: Find, supervisor: Lender) -> None:
        self._find = find
        self._supervisor = supervisor

    async def count(
        self, principal: Principal, request: ChatRequest, account: Account
    ) -> tuple[int | None, int | None]:
        """The tokens of the prompt, and the context length; None for what the engine does not say.

        Raises:
            RequestError: the request is refused.
            EngineFailed, EngineTimeout, EngineUnavailable, Overloaded: the engine cannot be asked.
        """
        deployment, traits, needs = await self._find(principal, request, account)
        async with self._supervisor.acquire(deployment.name, needs, patience_s=PATIENCE_S, tier=account.tier) as lease:
            tokens = await lease.connection.count_tokens(request)
        return tokens, traits.context_length or deployment.settings.context_length
