"""What `/metrics` shows, in Prometheus' terms. Labels are names of deployments and routes, never of people."""

from collections.abc import Mapping
from typing import Any, NamedTuple

from prometheus_client import CollectorRegistry, Counter, Gauge, generate_latest

from freehold.gateway.account import Account
from freehold.gateway.capacity_metrics import CapacityMetrics
from freehold.gateway.tallies import Count, Counts, Spread, Spreads
from freehold.journal.projection_flags import findings_of

_BUCKETS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 120, 300, 600)

_HELD_BUCKETS = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5)


class _OfDeployment(NamedTuple):
    """The counters of one deployment that every request moves."""

    prompt_tokens: Count
    completion_tokens: Count
    cost: Count
    first_token: Spread


class Metrics:
    """The counters of one gateway."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        self.requests = Counts(
            "freehold_requests", "Finished requests.", ("route", "deployment", "status"), registry=self.registry
        )
        self.tokens = Counts(
            "freehold_tokens", "Tokens read and produced.", ("deployment", "kind"), registry=self.registry
        )
        self.images = Counter("freehold_images", "Pictures painted.", ("deployment",), registry=self.registry)
        self.duration = Spreads(
            "freehold_request_duration_seconds",
            "From the request's arrival to its last byte.",
            ("route",),
            buckets=_BUCKETS,
            registry=self.registry,
        )
        self.first_token = Spreads(
            "freehold_time_to_first_token_seconds",
            "From the request's arrival to the first piece of the answer.",
            ("deployment",),
            buckets=_BUCKETS,
            registry=self.registry,
        )
        self.held_back = Spreads(
            "freehold_content_filter_held_seconds",
            "How much later the first piece of a stream left because it was examined before.",
            ("deployment",),
            buckets=_HELD_BUCKETS,
            registry=self.registry,
        )
        self.in_flight = Gauge("freehold_requests_in_flight", "Requests that are running.", registry=self.registry)
        self.cost = Counts(
            "freehold_cost_micro", "What requests cost, in micro-units.", ("deployment",), registry=self.registry
        )
        self.replicas_wanted = Gauge(
            "freehold_replicas_wanted", "Replicas that there are to be.", ("deployment",), registry=self.registry
        )
        self.replicas = Gauge(
            "freehold_replicas", "Engine processes by state.", ("deployment", "state"), registry=self.registry
        )
        self.cluster_leads, self.cluster_epoch = _of_cluster(self.registry)
        self.cached_prompt_tokens, self.prompt_cache_choices = _of_prompt_caches(self.registry)
        self.capacity = CapacityMetrics(self.registry)
        self.flags = Counter(
            "freehold_filter_flags",
            "What the content filter found in requests, and whether it blocked.",
            ("category", "severity", "blocked"),
            registry=self.registry,
        )
        self.projection_lag = Gauge(
            "freehold_usage_lag_records",
            "Records of the journal that the usage database does not have yet.",
            registry=self.registry,
        )
        self.journal_wait = Gauge(
            "freehold_journal_wait_seconds", "How long the journal has waited for the disk.", registry=self.registry
        )
        self._of_answers: dict[tuple[str, str, str], tuple[Count, Spread]] = {}
        self._of_deployments: dict[str, _OfDeployment] = {}

    def answered(self, route: str, deployment: str, status: str, took_s: float) -> None:
        """Count a request that has ended; `deployment` is empty where none was admitted to."""
        key = (route, deployment, status)
        found = self._of_answers.get(key)
        if found is None:
            found = self._of_answers[key] = (self.requests.labels(*key), self.duration.labels(route))
        found[0].inc()
        found[1].observe(took_s)

    def closed(self, account: Account) -> None:
        """Count what was used: of every receipt, be it a request's or of what is done for one."""
        receipt = account.receipt
        if receipt is None:
            return
        if receipt.filter:
            self.flagged(receipt.filter)
        self.capacity.closed(account)
        if account.deployment is None:
            return
        deployment = account.deployment.name
        own = self._of_deployments.get(deployment)
        if own is None:
            own = self._of_deployments[deployment] = _OfDeployment(
                self.tokens.labels(deployment, "prompt"),
                self.tokens.labels(deployment, "completion"),
                self.cost.labels(deployment),
                self.first_token.labels(deployment),
            )
        own.prompt_tokens.inc(receipt.prompt_tokens)
        own.completion_tokens.inc(receipt.completion_tokens)
        if receipt.cached_tokens:
            self.cached_prompt_tokens.labels(deployment).inc(receipt.cached_tokens)
        if receipt.images:
            self.images.labels(deployment).inc(receipt.images)
        if receipt.cost_micro:
            own.cost.inc(receipt.cost_micro)
        first_piece_s = account.first_piece_s
        if first_piece_s is not None:
            own.first_token.observe(first_piece_s)
        if account.filter is not None and account.filter.held_s is not None:
            self.held_back.labels(deployment).observe(account.filter.held_s)

    def flagged(self, record: Mapping[str, Any]) -> None:
        """Count what a receipt's `filter` tells; of a blocklist, of personal data and of secrets only the kind."""
        for each in findings_of(record):
            self.flags.labels(each.name.partition(":")[0], each.severity.label, str(each.blocked).lower()).inc()

    def exposition(self) -> bytes:
        """All of it in the text format."""
        return generate_latest(self.registry)


def _of_cluster(registry: CollectorRegistry) -> tuple[Gauge, Gauge]:
    """Whether this gateway leads the cluster that it shares with others, and in which epoch."""
    leads = Gauge("freehold_cluster_leads", "Whether this gateway leads the shared cluster.", registry=registry)
    epoch = Gauge(
        "freehold_cluster_epoch", "How often the lead over the shared cluster has changed hands.", registry=registry
    )
    return leads, epoch


def _of_prompt_caches(registry: CollectorRegistry) -> tuple[Counter, Gauge]:
    """Tokens that engines had in their caches, and how many requests were sent to find them there."""
    tokens = Counter(
        "freehold_cached_prompt_tokens",
        "Tokens of prompts that engines had in their caches.",
        ("deployment",),
        registry=registry,
    )
    choices = Gauge(
        "freehold_prompt_cache_choices",
        "Where requests went, of deployments with several replicas: to one that knew the prompt's beginning, elsewhere "
        "though one did, or anywhere because none did.",
        ("deployment", "outcome"),
        registry=registry,
    )
    return tokens, choices
