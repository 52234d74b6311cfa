"""What `/metrics` shows of provisioned capacity."""

from collections.abc import Iterable

from prometheus_client import CollectorRegistry, Counter, Gauge

from freehold.errors import CapacityExceeded
from freehold.gateway.account import Account
from freehold.gateway.capacity import CAPACITY, SPILLED, CapacityUse


class CapacityMetrics:
    """The gauges and counters of deployments that have units.

    Args:
        registry: where they stand.
    """

    def __init__(self, registry: CollectorRegistry) -> None:
        of_deployment, of_share = ("deployment",), ("deployment", "project")
        self.units = Gauge(
            "freehold_deployment_units",
            "Provisioned units: each project's own, and with an empty project those that are everybody's.",
            of_share,
            registry=registry,
        )
        self.utilization = Gauge(
            "freehold_deployment_utilization",
            "What requests of the last minute take of the provisioned units, in percent; at all gateways together.",
            of_deployment,
            registry=registry,
        )
        self.own_utilization = Gauge(
            "freehold_deployment_utilization_here",
            "What this gateway's requests of the last minute take of the provisioned units, in percent.",
            of_deployment,
            registry=registry,
        )
        self.filled = Gauge(
            "freehold_deployment_bucket_filled",
            "How full the bucket of provisioned units is, in percent; from 100 on requests are refused or spill over.",
            of_share,
            registry=registry,
        )
        self.requests = Counter(
            "freehold_provisioned_requests",
            "Requests to deployments with provisioned units, by what served them: provisioned, spilled, or refused.",
            ("deployment", "outcome"),
            registry=registry,
        )

    def measure(self, uses: Iterable[tuple[str, CapacityUse]]) -> None:
        """Set the gauges to what is so now, of deployments by name."""
        for gauge in (self.units, self.utilization, self.own_utilization, self.filled):
            gauge.clear()
        for name, use in uses:
            self.utilization.labels(name).set(use.utilization)
            self.own_utilization.labels(name).set(use.own_utilization)
            for share in use.shares:
                self.units.labels(name, share.project or "").set(share.units)
                self.filled.labels(name, share.project or "").set(share.filled)

    def closed(self, account: Account) -> None:
        """Count a request that asked for a deployment with units."""
        outcome = account.notes.get(CAPACITY)
        if outcome is None and account.receipt is not None:
            outcome = "refused" if account.receipt.error_code == CapacityExceeded.default_code else None
        if outcome is None:
            return
        deployment = account.deployment.name if account.deployment else None
        asked = (account.spilled_from if outcome == SPILLED else deployment) or account.requested
        self.requests.labels(asked or "", str(outcome)).inc()
