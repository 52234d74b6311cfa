"""Answers that are kept for `Idempotency-Key`: the same request again gets the same bytes, and nothing is done twice.

What is kept lies in the store, encrypted under a key of the project's own (`freehold.gateway.sealing`). A key that is
in flight is known to this process only: two processes never share a home, and what a crash interrupted is free to run
anew.
"""

import hmac
import math
import struct
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

import orjson

from freehold.errors import Conflict, InvalidRequest, KeyReused
from freehold.gateway.sealing import derived, seal, unseal
from freehold.store.database import Database
from freehold.store.kept_answers import KeptAnswerRow, delete_expired_answers, get_kept_answer, put_kept_answer

KEPT_S = 24 * 3600
MAX_KEY_CHARACTERS = 255
RETRY_AFTER_S = 1.0
PARAM = "Idempotency-Key"
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
    """The name of a row."""

    project_id: str
    key_digest: bytes

    @property
    def associated(self) -> bytes:
        """What binds a ciphertext to its row."""
        return self.project_id.encode() + b"\0" + self.key_digest


class KeptAnswers:
    """The kept answers of one home.

    Args:
        database: where they lie.
        secret: from which the keys are derived.
        clock: seconds since the epoch.
    """

    def __init__(self, database: Database, secret: bytes, *, clock: Callable[[], float] = time.time) -> None:
        self._database = database
        self._secret = secret
        self._clock = clock
        self._digest_key = derived(secret, b"freehold kept answer digests")
        self._in_flight: dict[_Name, bytes] = {}
        self._writes = 0

    async def begin(self, project_id: str, key: str, fingerprint: bytes) -> "KeptAnswer | Slot":
        """The answer that is kept under the key, or else the right to make it.

        Args:
            project_id: keys of different projects have nothing to do with each other.
            key: what the caller chose.
            fingerprint: what must be the same for a request to be the same.

        Raises:
            InvalidRequest: the key is empty, too long, or has other characters than printable ASCII.
            KeyReused: the key was used for another request.
            Conflict: the request is being answered at this moment.
        """
        if not key.isascii() or not key.isprintable() or not 0 < len(key) <= MAX_KEY_CHARACTERS:
            raise InvalidRequest(
                f"The header '{PARAM}' must be 1 to {MAX_KEY_CHARACTERS} printable ASCII characters.", param=PARAM
            )
        name = _Name(project_id, self._digest(b"key", project_id.encode(), key.encode()))
        body_digest = self._digest(b"body", fingerprint)
        self._refuse_in_flight(name, body_digest)
        writes = self._writes
        kept = await self._find(name, body_digest)
        if kept is not None:
            return kept
        self._refuse_in_flight(name, body_digest)
        slot = self._reserve(name, body_digest)
        if writes == self._writes:
            return slot
        try:  # while the table was read an answer was written, maybe this one
            kept = await self._find(name, body_digest)
        except BaseException:
            slot.release()
            raise
        if kept is None:
            return slot
        slot.release()
        return kept

    async def expire(self) -> int:
        """Delete what is older than 24 hours; how many answers that were."""
        return await delete_expired_answers(self._database, self._clock())

    def _refuse_in_flight(self, name: _Name, body_digest: bytes) -> None:
        """Raise if a request with the key is in flight."""
        running = self._in_flight.get(name)
        if running is None:
            return
        if not hmac.compare_digest(running, body_digest):
            raise _reused()
        raise Conflict(
            f"A request with the same '{PARAM}' is being processed. Please try again when it has been answered.",
            param=PARAM,
            code="idempotency_key_in_use",
            retry_after_s=RETRY_AFTER_S,
        )

    async def _find(self, name: _Name, body_digest: bytes) -> KeptAnswer | None:
        """The answer, if there is one that has not expired and can be decrypted.

        Raises:
            KeyReused: it is another request's.
        """
        row = await get_kept_answer(self._database, name.project_id, name.key_digest)
        if row is None or row.expires_at <= self._clock():
            return None
        text = unseal(self._key(name), row.answer, name.associated)
        if text is None:
            return None  # another secret's, or damaged: as good as none, and replaced by the next answer
        if not hmac.compare_digest(row.body_digest, body_digest):
            raise _reused()
        return _unpacked(text)

    def _reserve(self, name: _Name, body_digest: bytes) -> "Slot":
        self._in_flight[name] = body_digest

        async def keep(answer: KeptAnswer) -> None:
            sealed = seal(self._key(name), _packed(answer), name.associated)
            expires_at = math.ceil(self._clock() + KEPT_S)
            row = KeptAnswerRow(name.project_id, name.key_digest, body_digest, answer.request_id, sealed, expires_at)
            try:
                await put_kept_answer(self._database, row)
            finally:
                self._writes += 1  # it may have been written whatever was raised

        return Slot(keep, lambda: self._in_flight.pop(name))

    def _key(self, name: _Name) -> bytes:
        return derived(self._secret, b"freehold kept answer " + name.project_id.encode())

    def _digest(self, *parts: bytes) -> bytes:
        return hmac.digest(self._digest_key, b"\0".join(parts), "sha256")


class Slot:
    """The right to make the one answer under a key. Whoever has it ends with `release`, whatever happened.

    Args:
        write: writes the answer into the store.
        free: makes the key free.
    """

    def __init__(self, write: Callable[[KeptAnswer], Awaitable[None]], free: Callable[[], object]) -> None:
        self._write = write
        self._free = free
        self._released = False

    async def keep(self, answer: KeptAnswer) -> None:
        """Keep the answer for 24 hours, then release the slot, also where that fails.

        Raises:
            HomeError: the database cannot be written; the key is free.
        """
        assert not self._released, "an answer comes before the release"
        try:
            await self._write(answer)
        finally:
            self.release()

    def release(self) -> None:
        """Make the key free. Without a kept answer the next request with it runs anew. May be called again."""
        if not self._released:
            self._released = True
            self._free()


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
