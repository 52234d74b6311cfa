"""How the host of a process of an engine over several nodes ends by itself: with the room that was kept for all."""

from contextlib import suppress

from ray.exceptions import RayError
from ray.util.placement_group import get_placement_group, remove_placement_group

from freehold.cluster.host import leave_process


def leave_group(name: str) -> None:
    """Give a placement group back, which ends all that runs in it, and end this process."""
    with suppress(RayError, ValueError):  # another of its hosts was faster, or the head is lost
        remove_placement_group(get_placement_group(name))
    leave_process()
