from freehold.config import SupervisorSettings
from freehold.errors import ConfigError, InvalidRequest, NoRoom
from freehold.serving.backoff import Backoff, permanent, refused

LIMITS = SupervisorSettings(backoff_initial_s=1.0, backoff_max_s=30.0)


def test_a_refusal_of_the_cluster_is_permanent() -> None:
    """What the cluster has no place for is a fault that time does not mend, other wrong values of a request are not."""
    never, wrong = InvalidRequest("too large", code="never_fits"), InvalidRequest("wrong")
    assert (permanent(never), refused(never)) == (True, True)
    assert (permanent(wrong), refused(wrong)) == (False, False)
    assert (permanent(ConfigError("wrong")), refused(ConfigError("wrong"))) == (True, False)
    assert not permanent(NoRoom("later"))


def test_delays_double_up_to_the_longest() -> None:
    """An engine that fails again and again after it was ready waits twice as long each time, less the jitter."""
    backoff = Backoff(LIMITS)
    delays = [backoff.after_failure(ready_s=1.0, permanent=False) for _ in range(8)]
    for delay, whole in zip(delays, [1, 2, 4, 8, 16, 30, 30, 30], strict=True):
        assert whole / 2 <= delay <= whole
    assert not backoff.hopeless


def test_time_in_good_health_is_rewarded() -> None:
    """A replica that was ready for long begins with the shortest delay again."""
    backoff = Backoff(LIMITS)
    for _ in range(5):
        backoff.after_failure(ready_s=1.0, permanent=False)
    assert backoff.after_failure(ready_s=31.0, permanent=False) <= 1.0


def test_the_third_failed_start_waits_longest() -> None:
    """What never became ready in three starts waits for the longest time, and so does a known permanent fault."""
    backoff = Backoff(LIMITS)
    assert backoff.after_failure(ready_s=None, permanent=False) <= 1.0
    assert backoff.after_failure(ready_s=None, permanent=False) <= 2.0
    assert not backoff.hopeless
    assert backoff.after_failure(ready_s=None, permanent=False) == 30.0
    assert backoff.hopeless
    assert backoff.after_failure(ready_s=0.1, permanent=False) <= 8.0
    assert not backoff.hopeless
    assert backoff.after_failure(ready_s=None, permanent=True) == 30.0
