"""What is counted for Prometheus."""

from freehold.gateway.metrics import Metrics


def test_findings_are_counted_by_kind() -> None:
    """A finding counts by category, severity and whether it blocked; the name of a list is no label."""
    metrics = Metrics()
    record = {
        "prompt": {"hate": "high", "blocklist:fruit": "detected"},
        "completion": {"blocklist:rivals": "detected", "violence": "safe"},
        "blocked": ["prompt:hate", "completion:rivals"],
    }
    metrics.flagged(record)
    lines = metrics.exposition().decode().splitlines()
    assert {line for line in lines if line.startswith("freehold_filter_flags_total")} == {
        'freehold_filter_flags_total{blocked="true",category="hate",severity="high"} 1.0',
        'freehold_filter_flags_total{blocked="false",category="blocklist",severity="medium"} 1.0',
        'freehold_filter_flags_total{blocked="true",category="blocklist",severity="medium"} 1.0',
    }
