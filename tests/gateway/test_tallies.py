"""Counters and histograms without locks, beside those of Prometheus' own library."""

from prometheus_client import CollectorRegistry, Counter, Histogram, generate_latest

from freehold.gateway.tallies import Counts, Spreads

BUCKETS = (0.005, 0.5, 1, 30)


def exposition(*, plain: bool) -> list[str]:
    """What either kind tells of the same events; without the times since when something is counted."""
    registry = CollectorRegistry()
    counter, histogram = (Counts, Spreads) if plain else (Counter, Histogram)
    asked = counter("asked", "Requests.", ("route", "status"), registry=registry)
    took = histogram("took_seconds", "Their times.", ("route",), buckets=BUCKETS, registry=registry)
    counter("never", "What never came.", ("route",), registry=registry)
    for route, status, seconds in (("/a", "200", 0.005), ("/a", "500", 0.6), ('/"b"', "200", 1000.0), ("/a", "200", 0)):
        asked.labels(route, status).inc()
        asked.labels(route, status).inc(2)
        took.labels(route).observe(seconds)
    lines = generate_latest(registry).decode().splitlines()
    return [line.rpartition(" ")[0] if "_created{" in line else line for line in lines]


def test_they_tell_what_the_library_tells() -> None:
    """Every line is the same: names, labels, buckets, sums, and since when something is counted."""
    told = exposition(plain=True)
    assert told == exposition(plain=False)
    assert 'took_seconds_bucket{le="1.0",route="/a"} 3.0' in told
