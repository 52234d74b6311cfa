from prometheus_client.parser import text_string_to_metric_families

from freehold.gateway.metrics import Metrics
from freehold.workers.summed import counted, summed


def _metrics(requests: int, running: int) -> bytes:
    metrics = Metrics()
    metrics.requests.labels("/v1/chat/completions", 'a "name"', "200").inc(requests)
    for _ in range(requests):
        metrics.duration.labels("/v1/chat/completions").observe(0.2)
    metrics.in_flight.set(running)
    return metrics.exposition()


def _values(text: bytes) -> dict[str, float]:
    return {
        sample.name: sample.value
        for family in text_string_to_metric_families(text.decode())
        for sample in family.samples
        if not sample.name.endswith("_bucket")
    }


def test_the_sum_of_one_is_what_it_was() -> None:
    """The text of one process is not changed by being summed."""
    text = _metrics(3, 1)
    assert summed([text]) == text


def test_counters_histograms_and_gauges_add_up() -> None:
    """Of several processes what they counted is added, and the earliest beginning stays."""
    texts = [_metrics(3, 1), _metrics(4, 2)]
    found, first = _values(summed(texts)), _values(texts[0])
    assert found["freehold_requests_total"] == 7
    assert found["freehold_request_duration_seconds_count"] == 7
    assert found["freehold_requests_in_flight"] == 3
    assert found["freehold_requests_created"] == first["freehold_requests_created"]


def test_only_what_grows_is_counted_on() -> None:
    """Of a process that is gone no gauge is left."""
    found = _values(counted(_metrics(3, 5)))
    assert found["freehold_requests_total"] == 3
    assert "freehold_requests_in_flight" not in found
