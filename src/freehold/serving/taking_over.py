"""A gateway that begins to lead takes what runs on the cluster into its hands."""

import asyncio
from collections.abc import Collection, Sequence
from contextlib import suppress
from typing import Final

import structlog

from freehold.cluster.base import Cluster, HostedRecord
from freehold.errors import Conflict, FreeholdError, NotFound, Unavailable
from freehold.serving.board import Follows
from freehold.serving.shared_launching import SharedLaunching
from freehold.serving.sharing import Sharer
from freehold.types.cluster import NodeState

log = structlog.get_logger(__name__)

_AGAIN_S: Final = (0.2, 1.0, 2.0)
"""What was not found at first is looked for again after such pauses: a node may be slow to answer."""


async def take_over(
    cluster: Cluster, follows: Follows, sharers: Sequence[Sharer], draining: Collection[str] | None
) -> list[HostedRecord]:
    """Have all that runs in this gateway's hands, and the nodes as they were; the engines that are left over.

    Args:
        cluster: where they run.
        follows: who decides about room from now on.
        sharers: whose replicas are there.
        draining: the nodes that the leader before had told to drain; None where none has told.

    Raises:
        Unavailable: the cluster cannot be reached.
        Conflict: another gateway has begun to lead later.
    """
    if draining is not None:
        await _drain(cluster, frozenset(draining))
    await follows.look()
    return await adopt(cluster, sharers)


async def adopt(cluster: Cluster, sharers: Sequence[Sharer]) -> list[HostedRecord]:
    """Take engines where a replica is there for them; those that are left over. Raises: as `take_over`."""
    for pause_s in (*_AGAIN_S, None):
        records = await cluster.hosted()
        here = [launching for each in sharers for launching, _ in each.launchings()]
        missing = [each.id for each in here if not await _is_taken(each, records)]
        if not missing or pause_s is None:
            break
        log.info("replicas_not_found", replicas=missing, again_s=pause_s)
        await asyncio.sleep(pause_s)
    return records


async def _is_taken(launching: SharedLaunching, records: list[HostedRecord]) -> bool:
    """Have a replica's engine in this gateway's hands, and out of the records; whether it is."""
    if launching.owned:
        with suppress(KeyError):  # its node is not seen: nobody else is placed there
            launching.account_again()
        return True
    record = next(filter(launching.is_of, records), None)
    if record is None:
        return False
    records.remove(record)
    try:
        await launching.own(record)
    except (Conflict, Unavailable):
        raise
    except (FreeholdError, KeyError) as exc:  # it has ended, or its node does not answer, or is not seen
        log.info("replica_not_taken_over", replica=record.workload, reason=str(exc))
    return launching.owned


async def _drain(cluster: Cluster, draining: frozenset[str]) -> None:
    """Have those nodes drain, and no others."""
    now = {node.id for node in await cluster.nodes() if node.state is NodeState.DRAINING}
    for node in draining - now:
        with suppress(NotFound):
            await cluster.drain(node)
    for node in now - draining:
        with suppress(NotFound):
            await cluster.resume(node)
