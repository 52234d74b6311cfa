"""`POST /moderations`."""

import secrets
from typing import Any

from freehold.api.body import parse
from freehold.api.reply import Call, Reply
from freehold.gateway.moderation import Moderation
from freehold.types.moderations import ModerationRequest


async def create_moderation(call: Call) -> Reply:
    """Say of each text which kinds of harm it does."""
    request = parse(ModerationRequest, call.body)
    answer = await call.gateway.moderator.moderate(call.principal, request, call.account)
    return {
        "id": f"modr-{secrets.token_hex(14)}",
        "model": answer.model,
        "results": [_result(found) for found in answer.results],
    }


def _result(found: Moderation) -> dict[str, Any]:
    return {
        "flagged": found.flagged,
        "categories": dict(found.categories),
        "category_scores": {name: round(score, 6) for name, score in found.scores.items()},
        "category_applied_input_types": {name: ["text"] for name in found.categories},
    }
