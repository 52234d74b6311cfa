"""Kept content as a whole: its keys, how long it stays, what keeps it, and what deletes it."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Final

import structlog

from freehold.config import Settings
from freehold.encryption.cipher import ContentCipher
from freehold.encryption.content_keys import ContentKeys
from freehold.encryption.opening import open_master_keys
from freehold.gateway.batch_store import BatchStore
from freehold.gateway.batches import Batches
from freehold.gateway.conversations import Conversations
from freehold.gateway.evaluation_store import EvaluationStore
from freehold.gateway.evaluations import Evaluations
from freehold.gateway.file_store import FileStore
from freehold.gateway.file_uploads import FileUploads
from freehold.gateway.files import Files
from freehold.gateway.flagged import FlaggedContent
from freehold.gateway.idempotency import KeptAnswers
from freehold.gateway.item_store import ItemStore
from freehold.gateway.jobs import Jobs
from freehold.gateway.picture_files import PictureFiles
from freehold.gateway.retention import Sweep
from freehold.gateway.stored_completions import StoredCompletions
from freehold.gateway.tuning_store import TuningStore
from freehold.governance.digests import derived
from freehold.governance.retention import RetentionRegistry
from freehold.jobs.queue import JobQueue
from freehold.store.database import Database
from freehold.store.home import Home
from freehold.store.kept_items import COMPLETION_TABLES, CONVERSATION_TABLES, RESPONSE_TABLES
from freehold.types.batches import BATCH_JOB
from freehold.types.content import COMPLETIONS, CONVERSATIONS, RESPONSES
from freehold.types.evaluations import EVAL_JOB
from freehold.types.fine_tuning import FINE_TUNING_JOB
from freehold.types.training import TRAINING_JOB

PAUSABLE: Final = frozenset({BATCH_JOB, EVAL_JOB, FINE_TUNING_JOB, TRAINING_JOB})
"""The kinds of jobs whose work can be paused."""

log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Content:
    """What has to do with kept content.

    Args:
        keys: it is encrypted under these.
        retention: how long each kind stays.
        answers: kept for `Idempotency-Key`.
        pictures: kept for their addresses.
        flagged: texts that the content filter blocked, kept for review.
        files: that callers upload.
        uploads: files that come in parts.
        responses: where responses lie.
        conversations: conversations with their items.
        completions: chat completions that callers store.
        batches: requests in files.
        tuning: where fine-tuning jobs lie.
        evaluations: what is asked of models, and how their answers are graded.
        jobs: work that goes on without its request.
        queue: has jobs done.
        sweep: deletes what may not stay.
    """

    keys: ContentKeys
    retention: RetentionRegistry
    answers: KeptAnswers
    pictures: PictureFiles
    flagged: FlaggedContent
    files: Files
    uploads: FileUploads
    responses: ItemStore
    conversations: Conversations
    completions: StoredCompletions
    batches: Batches
    tuning: TuningStore
    evaluations: Evaluations
    jobs: Jobs
    queue: JobQueue
    sweep: Sweep


@asynccontextmanager
async def open_content(database: Database, home: Home, settings: Settings) -> AsyncIterator[Content]:
    """Everything for the content of a home, until the block ends.

    Raises:
        ConfigError: a secret of the configuration cannot be read, or is no key.
        HomeError: the database or a file of the home cannot be used.
    """
    async with open_master_keys(home.master_key, settings.encryption) as masters:
        keys = ContentKeys(database, masters, cache_s=settings.encryption.cache_s)
        await keys.load()
        for name, count in (await keys.masters()).items():
            if name not in masters.names():
                log.error("master_key_unknown", master_key=name, content_keys=count)
        retention = RetentionRegistry(database, settings.retention)
        await retention.load()
        cipher, pepper = ContentCipher(keys), home.pepper()
        answers = KeptAnswers(database, cipher, retention, derived(pepper, b"freehold kept answer digests"))
        pictures = PictureFiles(database, cipher, retention, derived(pepper, b"freehold picture addresses"))
        flagged = FlaggedContent(database, cipher, retention)
        store = FileStore(database, cipher, retention, settings.files)
        files, uploads = Files(store), FileUploads(store)
        responses, conversations, completions = (
            ItemStore(database, cipher, retention, kind, tables)
            for kind, tables in (
                (RESPONSES, RESPONSE_TABLES),
                (CONVERSATIONS, CONVERSATION_TABLES),
                (COMPLETIONS, COMPLETION_TABLES),
            )
        )
        queue = JobQueue(
            database,
            per_project=settings.jobs.max_running_per_project,
            most_waiting=settings.jobs.max_waiting_per_project,
            pausable=PAUSABLE,
        )
        batches = Batches(BatchStore(store, cipher, retention), files, queue, settings.batches)
        evaluations = Evaluations(EvaluationStore(store, cipher, retention), files, queue, settings.evaluations)
        yield Content(
            keys,
            retention,
            answers,
            pictures,
            flagged,
            files,
            uploads,
            responses,
            Conversations(conversations),
            StoredCompletions(completions, retention, derived(pepper, b"freehold completion labels")),
            batches,
            TuningStore(store, cipher, retention),
            evaluations,
            Jobs(queue, {BATCH_JOB: batches, EVAL_JOB: evaluations}),
            queue,
            Sweep(database, retention),
        )
