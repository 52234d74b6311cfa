"""Which gateway leads a cluster, in words."""

from freehold.cli.leads import led_by


def test_who_leads_is_said_with_since_when_and_the_epoch() -> None:
    """The gateway's name, the moment and the epoch stand in one line; without a leader it says so."""
    lead = {"gateway": "gateway-1", "epoch": 4, "since": 1_796_242_443, "self": True, "gateways": 2}
    assert led_by(lead) == "The gateway 'gateway-1' leads the cluster since 2026-12-02 20:14:03 UTC (epoch 4)."
    assert led_by({**lead, "gateway": None}) == "No gateway leads the cluster."
