"""The entrance of the control plane: lets administrators through, and has every change recorded.

Nothing here needs FastAPI: what is behind the entrance may not be imported yet.
"""

import structlog
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from freehold.api.admin.changes import Change, Changes
from freehold.api.door import Door
from freehold.errors import Forbidden, NotFound
from freehold.governance.directory import ORGANIZATION
from freehold.journal.journal import Journal, Position
from freehold.journal.records import Kind
from freehold.types.identity import Principal

log = structlog.get_logger("freehold.admin")

_READING = frozenset({"GET", "HEAD", "OPTIONS"})


class AdminDoor:
    """Lets administrators through, before a byte of the body is read and before any path is looked up.

    Every action that may change something is in the journal before its answer is sent, and none is done when the
    journal cannot be written.

    Args:
        app: what is behind the door.
        door: knows who is asking.
        journal: where actions are recorded.
        changes: is told of each that begins, and when it is recorded.
        everybody: whether members of every organization may come, or only those of the one that runs the service.
    """

    def __init__(self, app: ASGIApp, door: Door, journal: Journal, changes: Changes, *, everybody: bool) -> None:
        self._app = app
        self._door = door
        self._journal = journal
        self._changes = changes
        self._everybody = everybody

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass a request on.

        Raises:
            Unauthenticated, Forbidden: it is not an administrator's.
            NotFound: it is another organization's member's.
            AuditUnavailable: it would change something, and cannot be recorded.
        """
        assert scope["type"] == "http", "the server speaks nothing else"
        principal = await self._door.authenticate(scope)
        if not self._everybody and principal.organization_id != ORGANIZATION:
            raise NotFound("There is nothing here for you.", code="unknown_url")
        if not self._door.administers(principal) and not (self._everybody and self._door.keeps_own_keys(principal)):
            held = ", ".join(f"'{role}'" for role in sorted(principal.roles)) or "none"
            raise Forbidden(f"You are not allowed to do this: no role of yours allows administration; held: {held}.")
        scope["state"] |= {"principal": principal, "door": self._door}
        log.info(
            "admin_request",
            request_id=scope["state"]["request_id"],
            method=scope["method"],
            path=scope["path"],
            principal=principal.id,
            key_id=principal.key_id or None,
        )
        if scope["method"] in _READING:
            await self._app(scope, receive, send)
            return
        self._journal.check()
        with self._changes.begin() as change:
            recorder = scope["state"]["recorder"] = Recorder(self._journal, scope, principal, send, change)
            await self._app(scope, receive, recorder.send)


class Recorder:
    """The way back of an administrative action: what it came to is recorded before the answer begins."""

    def __init__(self, journal: Journal, scope: Scope, principal: Principal, send: Send, change: Change) -> None:
        self._journal = journal
        self._scope = scope
        self._principal = principal
        self._send = send
        self._change = change
        self._written = False

    async def send(self, message: Message) -> None:
        """Pass a part of the answer on, once what it came to is recorded."""
        if message["type"] == "http.response.start":
            if not self._written:
                await self.write(message["status"])
            self._change.end()
        await self._send(message)

    async def write(self, status: int) -> Position:
        """Write the record; where it stands, when it is on the disk."""
        state = self._scope["state"]
        principal = self._principal
        body = {
            "request_id": state["request_id"],
            "method": self._scope["method"],
            "path": self._scope["path"],
            "status": status,
            "organization_id": principal.organization_id,
            "project_id": principal.project_id or None,
            "principal": principal.id,
            "principal_kind": principal.kind.value,
            "key_id": principal.key_id or None,
            "auth_method": principal.auth_method,
            "authorization": state.get("authorization"),
            **(state["recorded"].body() if "recorded" in state else {}),
        }
        position = await self._journal.submit(Kind.ADMIN, body, durable=True)
        self._written = True
        return position
