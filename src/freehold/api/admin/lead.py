"""Who leads a cluster that gateways share, as the APIs show it."""

from typing import Any

from freehold.serving.board import Standing


def lead_object(standing: Standing) -> dict[str, Any]:
    """Which of the gateways that share a cluster leads it, as the API shows it."""
    return {
        "gateway": standing.leader or None,
        "epoch": standing.epoch,
        "since": standing.since_us // 1_000_000 or None,
        "self": standing.leads,
        "gateways": standing.gateways,
    }
