"""Answers that are kept for `Idempotency-Key`: the same request again gets the same bytes, and nothing is done twice.

What is kept lies in the store, encrypted under its owner's content key (`freehold.encryption`). What one owner chose as
`Idempotency-Key` in one project has nothing to do with anybody else's. A key that is in flight is known to this process
and, where several gateways share the database, claimed in it before anything is done; what a crash interrupted is free
to run anew, at once where there is one gateway, and else when the others know that this one is gone.
"""

import asyncio
import hmac
import math
import struct
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

import orjson
import structlog

from freehold.encryption.cipher import ContentCipher
from freehold.errors import Conflict, ContentUnreadable, FreeholdError, InvalidRequest, KeyReused
from freehold.governance.retention import RetentionRegistry
from freehold.store.answer_claims import claim_answer, free_answer
from freehold.store.database import Database
from freehold.store.kept_answers import KeptAnswerRow, get_kept_answer, put_kept_answer
from freehold.types.content import ANSWERS, Tenant
from freehold.types.ids import new_id

log = structlog.get_logger(__name__)

MAX_KEY_CHARACTERS = 255
RETRY_AFTER_S = 1.0
PARAM = "Idempotency-Key"
_AGAIN_S = 1.0
"""After how long a claim is given up again that could not be."""
_HEAD = struct.Struct(">I")
"""Before the plain text's head: its length in bytes."""


@dataclass(frozen=True, slots=True)
class KeptAnswer:
    """A whole answer, as it was sent.

    Args:
        request_id: of the request that it answered.
        status: HTTP's.
        headers: names and values.
        body: the bytes of the body.
    """

    request_id: str
    status: int
    headers: tuple[tuple[str, str], ...]
    body: bytes


@dataclass(frozen=True, slots=True)
class _Name:
    """The name of a row, whose digest its owner is part of."""

    tenant: Tenant
    key_digest: bytes

    def row(self, body_digest: bytes) -> str:
        """What an answer's ciphertext is bound to."""
        return f"{self.key_digest.hex()}:{body_digest.hex()}"


class KeptAnswers:
    """The kept answers of one home.

    Args:
        database: where they lie.
        cipher: encrypts them.
        retention: how long each is kept.
        digest_key: under which the callers' keys are hashed.
        clock: seconds since the epoch.
    """

    def __init__(
        self,
        database: Database,
        cipher: ContentCipher,
        retention: RetentionRegistry,
        digest_key: bytes,
        *,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._database = database
        self._cipher = cipher
        self._retention = retention
        self._digest_key = digest_key
        self._clock = clock
        self._in_flight: dict[_Name, bytes] = {}
        self._writes = 0
        self._freeing: set[asyncio.Task[None]] = set()
        self._claiming: dict[str, asyncio.Task[bytes | None]] = {}

    async def begin(self, tenant: Tenant, key: str, fingerprint: bytes) -> "KeptAnswer | Slot":
        """The answer that is kept under the key, or else the right to make it.

        Args:
            tenant: whose it is; keys of different projects and owners have nothing to do with each other.
            key: what the caller chose.
            fingerprint: what must be the same for a request to be the same.

        Raises:
            InvalidRequest: the key is empty, too long, or has other characters than printable ASCII.
            ZeroRetention: nothing is kept for the project.
            ProjectKeyRevoked, KeyServiceUnavailable: kept answers cannot be read.
            KeyReused: the key was used for another request.
            Conflict: the request is being answered at this moment, here or by another gateway.
            Unavailable: the database, by which gateways know of each other's, cannot be used.
        """
        if not key.isascii() or not key.isprintable() or not 0 < len(key) <= MAX_KEY_CHARACTERS:
            raise InvalidRequest(
                f"The header '{PARAM}' must be 1 to {MAX_KEY_CHARACTERS} printable ASCII characters.", param=PARAM
            )
        self._retention.check_keeping(tenant.organization_id, tenant.project_id, PARAM, "Leave the header out.")
        named = (tenant.organization_id, tenant.project_id, tenant.owner_id, key)
        name = _Name(tenant, self._digest(b"key", *(part.encode() for part in named)))
        body_digest = self._digest(b"body", fingerprint)
        self._refuse_in_flight(name, body_digest)
        writes = self._writes
        kept = await self._find(name, body_digest)
        if kept is not None:
            return kept
        self._refuse_in_flight(name, body_digest)
        claim = new_id("claim_") if self._database.is_shared else None
        slot = self._reserve(name, body_digest, claim)
        if writes == self._writes and claim is None:
            return slot
        try:  # while the table was read an answer was written, maybe this one
            await self._claim(name, body_digest, claim)
            kept = await self._find(name, body_digest)
        except BaseException:
            slot.release()
            raise
        if kept is None:
            return slot
        slot.release()
        return kept

    def _refuse_in_flight(self, name: _Name, body_digest: bytes) -> None:
        """Raise if a request with the key is in flight."""
        running = self._in_flight.get(name)
        if running is None:
            return
        raise _in_use(running, body_digest)

    async def _claim(self, name: _Name, body_digest: bytes, claim: str | None) -> None:
        """Have it be this gateway that answers, where there may be others; what they do first is found as an answer.

        Raises:
            KeyReused, Conflict, Unavailable: as `begin`.
        """
        if claim is None:
            return
        claimed = claim_answer(self._database, name.tenant.project_id, name.key_digest, body_digest, claim)
        task = self._claiming[claim] = asyncio.create_task(claimed)
        task.add_done_callback(lambda _: self._claiming.pop(claim))
        running = await asyncio.shield(task)  # a caller who goes away leaves it to `_give_up` to wait for the commit
        if running is not None:
            raise _in_use(running, body_digest)

    async def _give_up(self, claim: str) -> None:
        """Let other gateways have a key that this one answered with nothing that is kept."""
        claiming = self._claiming.get(claim)
        if claiming is not None:
            await asyncio.gather(claiming, return_exceptions=True)
        while True:
            try:
                async with self._database.aside() as connection:
                    await free_answer(connection, claim)
            except FreeholdError as exc:
                log.warning("key_not_freed", reason=exc.message)
                await asyncio.sleep(_AGAIN_S)
            else:
                return

    async def _find(self, name: _Name, body_digest: bytes) -> KeptAnswer | None:
        """The answer, if there is one that has not expired and can be decrypted.

        Raises:
            KeyReused: it is another request's.
        """
        row = await get_kept_answer(self._database, name.tenant.project_id, name.key_digest)
        if row is None or row.expires_at <= self._clock():
            return None
        try:
            text = await self._cipher.open(name.tenant, ANSWERS.name, name.row(row.body_digest), row.answer)
        except ContentUnreadable:
            return None  # damaged, or of a key that is gone: as good as none, and replaced by the next answer
        if not hmac.compare_digest(row.body_digest, body_digest):
            raise _reused()
        return _unpacked(text)

    def _reserve(self, name: _Name, body_digest: bytes, claim: str | None) -> "Slot":
        self._in_flight[name] = body_digest
        claimed = claim

        async def keep(answer: KeptAnswer) -> None:
            nonlocal claimed
            tenant = name.tenant
            keep_s = self._retention.keep_s(tenant.organization_id, tenant.project_id, ANSWERS)
            if not keep_s:
                return  # zero retention has come into force since the request began
            now = self._clock()
            row = KeptAnswerRow(
                project_id=tenant.project_id,
                key_digest=name.key_digest,
                organization_id=tenant.organization_id,
                owner_id=tenant.owner_id,
                body_digest=body_digest,
                request_id=answer.request_id,
                answer=await self._cipher.seal(tenant, ANSWERS.name, name.row(body_digest), _packed(answer)),
                created_at=math.floor(now),
                expires_at=math.ceil(now + keep_s),
            )
            try:
                if not await put_kept_answer(self._database, row, claim):
                    log.warning("answer_overtaken", request_id=answer.request_id)  # this gateway counted as gone
                claimed = None
            finally:
                self._writes += 1  # it may have been written whatever was raised

        def free() -> asyncio.Future[None] | None:
            del self._in_flight[name]
            if claimed is None:
                return None
            task = asyncio.create_task(self._give_up(claimed))
            self._freeing.add(task)
            task.add_done_callback(self._freeing.discard)
            return task

        return Slot(keep, free)

    def _digest(self, *parts: bytes) -> bytes:
        return hmac.digest(self._digest_key, b"\0".join(parts), "sha256")


class Slot:
    """The right to make the one answer under a key. Whoever has it ends with `release`, whatever happened.

    Args:
        write: writes the answer into the store.
        free: makes the key free; gives what other gateways may have it after, where there are any.
    """

    def __init__(
        self,
        write: Callable[[KeptAnswer], Awaitable[None]],
        free: Callable[[], asyncio.Future[None] | None],
    ) -> None:
        self._write = write
        self._free = free
        self._released = False

    async def keep(self, answer: KeptAnswer) -> None:
        """Keep the answer as long as answers are kept, then release the slot, also where that fails.

        Raises:
            HomeError: the database cannot be written; the key is free.
            ContentUnreadable, ProjectKeyRevoked, KeyServiceUnavailable: it cannot be encrypted; likewise.
        """
        assert not self._released, "an answer comes before the release"
        try:
            await self._write(answer)
        finally:
            self.release()

    def release(self) -> asyncio.Future[None] | None:
        """Make the key free. Without a kept answer the next request with it runs anew. May be called again.

        Returns:
            Where there are other gateways, what is done when they may have it too; nobody has to wait for it.
        """
        if self._released:
            return None
        self._released = True
        return self._free()


def _in_use(running: bytes, body_digest: bytes) -> Conflict | KeyReused:
    """Why a request cannot be answered whose key is in flight for what has the first of these digests."""
    if not hmac.compare_digest(running, body_digest):
        return _reused()
    return Conflict(
        f"A request with the same '{PARAM}' is being processed. Please try again when it has been answered.",
        param=PARAM,
        code="idempotency_key_in_use",
        retry_after_s=RETRY_AFTER_S,
    )


def _reused() -> KeyReused:
    return KeyReused(
        f"The '{PARAM}' was already used for a request to another route or with another body. Use a new key for "
        "each request that differs.",
        param=PARAM,
    )


def _packed(answer: KeptAnswer) -> bytes:
    """The answer as bytes: the length of the head, the head as JSON, and the body as it is."""
    head = orjson.dumps({"request_id": answer.request_id, "status": answer.status, "headers": answer.headers})
    return _HEAD.pack(len(head)) + head + answer.body


def _unpacked(text: bytes) -> KeptAnswer:
    """The answer that was packed."""
    (length,) = _HEAD.unpack_from(text)
    body_at = _HEAD.size + length
    head = orjson.loads(text[_HEAD.size : body_at])
    headers = tuple((name, value) for name, value in head["headers"])
    return KeptAnswer(head["request_id"], head["status"], headers, text[body_at:])
