"""Which gateway leads a cluster, in words."""

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any


def led_by(lead: Mapping[str, Any]) -> str:
    """A line that says it, of what the server's `lead` tells."""
    if lead["gateway"] is None:
        return "No gateway leads the cluster."
    since = datetime.fromtimestamp(lead["since"] or 0, UTC).strftime("%Y-%m-%d %H:%M:%S UTC")
    return f"The gateway '{lead['gateway']}' leads the cluster since {since} (epoch {lead['epoch']})."
