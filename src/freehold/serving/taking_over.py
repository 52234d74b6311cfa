"""A gateway that begins to lead takes what runs on the cluster into its hands."""

import asyncio
from collections.abc import Sequence
from typing import Final

import structlog

from freehold.cluster.base import Cluster, HostedRecord
from freehold.errors import NotFound
from freehold.serving.shared_launching import SharedLaunching
from freehold.serving.sharing import Sharer

log = structlog.get_logger(__name__)

_AGAIN_S: Final = (0.2, 1.0, 2.0)
"""What was not found at first is looked for again after such pauses: a node may be slow to answer."""


async def adopt(cluster: Cluster, sharers: Sequence[Sharer]) -> list[HostedRecord]:
    """Take engines where a replica is there for them; those that are left over.

    Args:
        cluster: where they run.
        sharers: whose replicas are there.

    Raises:
        Unavailable: the cluster cannot be reached.
        Conflict: another gateway has begun to lead later.
    """
    for pause_s in (*_AGAIN_S, None):
        records = {record.workload: record for record in await cluster.hosted()}
        here = [launching for each in sharers for launching, _ in each.launchings()]
        missing = [each.id for each in here if not await _is_taken(each, records.pop(each.id, None))]
        if not missing or pause_s is None:
            break
        log.info("replicas_not_found", replicas=missing, again_s=pause_s)
        await asyncio.sleep(pause_s)
    return list(records.values())


async def _is_taken(launching: SharedLaunching, record: HostedRecord | None) -> bool:
    """Have a replica's engine in this gateway's hands; whether it is."""
    if launching.owned and launching.offer is not None:
        launching.account(launching.offer.nodes)
    elif record is not None:
        try:
            await launching.own(record)
        except (NotFound, KeyError) as exc:  # it has ended, or its node is not seen
            log.info("replica_not_taken_over", replica=record.workload, reason=str(exc))
    return launching.owned
