"""Kept content on a real database, for tests of the gateway."""

from collections.abc import Callable

from freehold.encryption.cipher import ContentCipher
from freehold.encryption.content_keys import ContentKeys
from freehold.encryption.master_key import LocalMasterKey, MasterKeys
from freehold.gateway.file_store import FileStore
from freehold.gateway.files import Files
from freehold.gateway.flagged import FlaggedContent
from freehold.gateway.idempotency import KeptAnswers
from freehold.gateway.item_store import ItemStore
from freehold.gateway.picture_files import PictureFiles
from freehold.gateway.retention import Sweep
from freehold.gateway.stored_completions import StoredCompletions
from freehold.governance.retention import RetentionRegistry
from freehold.store.database import Database
from freehold.store.kept_items import COMPLETION_TABLES, ItemTables
from freehold.types.content import COMPLETIONS, ContentKind, RetentionSettings
from freehold.types.files import FilesSettings

SECRET = b"s" * 32
DIGEST_KEY = b"d" * 32


def content_keys_of(database: Database, secret: bytes = SECRET) -> ContentKeys:
    """Content keys that a master key wraps."""
    return ContentKeys(database, MasterKeys(LocalMasterKey(secret)), cache_s=300)


def cipher_of(database: Database, secret: bytes = SECRET) -> ContentCipher:
    """A cipher whose keys a master key wraps."""
    return ContentCipher(content_keys_of(database, secret))


def answers_of(
    database: Database,
    clock: Callable[[], float],
    *,
    secret: bytes = SECRET,
    retention: RetentionRegistry | None = None,
) -> KeptAnswers:
    """The kept answers of a database."""
    found = retention or RetentionRegistry(database, RetentionSettings())
    return KeptAnswers(database, cipher_of(database, secret), found, DIGEST_KEY, clock=clock)


def pictures_of(
    database: Database,
    clock: Callable[[], float],
    *,
    signing_key: bytes = DIGEST_KEY,
    retention: RetentionRegistry | None = None,
) -> PictureFiles:
    """The kept pictures of a database."""
    found = retention or RetentionRegistry(database, RetentionSettings())
    return PictureFiles(database, cipher_of(database), found, signing_key, clock=clock)


def flagged_of(
    database: Database, clock: Callable[[], float], *, retention: RetentionRegistry | None = None
) -> FlaggedContent:
    """The kept texts of blocked requests of a database."""
    found = retention or RetentionRegistry(database, RetentionSettings())
    return FlaggedContent(database, cipher_of(database), found, clock=clock)


def files_of(
    database: Database,
    clock: Callable[[], float],
    *,
    settings: FilesSettings | None = None,
    retention: RetentionRegistry | None = None,
) -> Files:
    """The uploaded files of a database."""
    found = retention or RetentionRegistry(database, RetentionSettings())
    return Files(FileStore(database, cipher_of(database), found, settings or FilesSettings(), clock=clock))


def items_of(
    database: Database,
    clock: Callable[[], float],
    kind: ContentKind,
    tables: ItemTables,
    *,
    retention: RetentionRegistry | None = None,
) -> ItemStore:
    """Where the things of a kind that have items lie, on a database."""
    found = retention or RetentionRegistry(database, RetentionSettings())
    return ItemStore(database, cipher_of(database), found, kind, tables, clock=clock)


def completions_of(
    database: Database, clock: Callable[[], float], *, retention: RetentionRegistry | None = None
) -> StoredCompletions:
    """The stored completions of a database."""
    found = retention or RetentionRegistry(database, RetentionSettings())
    store = items_of(database, clock, COMPLETIONS, COMPLETION_TABLES, retention=found)
    return StoredCompletions(store, found, DIGEST_KEY)


def sweep_of(database: Database, clock: Callable[[], float], retention: RetentionRegistry | None = None) -> Sweep:
    """What deletes what may not stay."""
    return Sweep(database, retention or RetentionRegistry(database, RetentionSettings()), clock=clock)
