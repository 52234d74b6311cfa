"""Why no replica can take a request, for the caller's eyes."""

from collections.abc import Sequence

from freehold.errors import EngineUnavailable
from freehold.serving.backoff import refused
from freehold.serving.choice import Wish
from freehold.serving.replica import Replica
from freehold.types.deployment import DeploymentSettings, ReplicaState

RETRY_STARTING_S = 2.0
_RETRY_FETCHING_S = 10.0
_RETRY_STOPPED_S = 60.0


def unavailable(
    settings: DeploymentSettings, serving: Sequence[Replica], wish: Wish, now: float, *, loaded: bool
) -> EngineUnavailable:
    """What a caller is told.

    Args:
        settings: the deployment's.
        serving: its replicas that serve or are to serve.
        wish: what the request wants.
        now: the loop's time.
        loaded: whether its replicas run, or are about to.
    """
    name = settings.name
    by_state = {replica.state: replica for replica in serving if replica.id not in wish.avoid}
    message, retry_after_s = f"The deployment `{name}` is starting.", RETRY_STARTING_S
    if settings.replicas == 0:
        message, retry_after_s = f"The deployment `{name}` is scaled to 0.", _RETRY_STOPPED_S
    elif not loaded:
        message = f"The deployment `{name}` is not loaded."
    elif any(replica.usable for replica in serving):
        message = f"No other replica of `{name}` can take the request."
    elif starting := by_state.get(ReplicaState.STARTING):
        message += f" Before, it failed: {starting.failure.message}." if starting.failure else ""
    elif fetching := by_state.get(ReplicaState.FETCHING):
        message = f"The model of `{name}` is being fetched: {fetching.status().progress or 'just begun'}."
        retry_after_s = _RETRY_FETCHING_S
    elif failed := by_state.get(ReplicaState.BACKING_OFF):
        retry_after_s = max(1.0, failed.retry_at - now)
        why = failed.failure.message if failed.failure else ""
        message = f"The deployment `{name}` failed and is started again in {retry_after_s:.0f} s: {why}"
        if failed.failure is not None and refused(failed.failure):
            message = f"The deployment `{name}` has no place on the cluster as it is: {why}"
    return EngineUnavailable(message, retry_after_s=retry_after_s)
