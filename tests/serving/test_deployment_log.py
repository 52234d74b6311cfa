"""What is kept of a deployment's life."""

from dataclasses import replace

from freehold.serving.deployment_log import MOST, DeploymentLog
from freehold.serving.status import ReplicaStatus
from freehold.types.deployment import ReplicaState

STATUS = ReplicaStatus("chat-1", ReplicaState.STARTING, None, 0, None, None, 0, None)


def test_lines_and_states_are_kept_in_their_order() -> None:
    """A state that stays is told once, a failure with the first line of its reason; the last entries come."""
    log = DeploymentLog(clock=iter(range(100)).__next__)
    log.changed(STATUS)
    log.heard("chat-1", "loading")
    log.changed(replace(STATUS, progress="half"))
    log.changed(replace(STATUS, state=ReplicaState.BACKING_OFF, error="it died\nlast words"))
    log.changed(STATUS)
    log.changed(replace(STATUS, id="chat-2"))
    log.changed(replace(STATUS, state=ReplicaState.STOPPED))
    assert [(entry.at, entry.replica, entry.kind, entry.text) for entry in log.tail(100)] == [
        (0, "chat-1", "state", "starting"),
        (1, "chat-1", "log", "loading"),
        (2, "chat-1", "state", "backing_off: it died"),
        (3, "chat-1", "state", "starting"),
        (4, "chat-2", "state", "starting"),
        (5, "chat-1", "state", "stopped"),
    ]
    assert [entry.at for entry in log.tail(2)] == [4, 5]


def test_the_oldest_entries_go() -> None:
    """However much an engine writes, so many entries are kept."""
    log = DeploymentLog()
    for number in range(3 * MOST):
        log.heard("chat-1", str(number))
    assert [entry.text for entry in log.tail(10 * MOST)] == [str(number) for number in range(2 * MOST, 3 * MOST)]
