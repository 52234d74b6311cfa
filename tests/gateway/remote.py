"""Remote tools over a real journal, for tests: who calls, and which receipts that leaves."""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from freehold.gateway.account import Account
from freehold.gateway.books import Books
from freehold.gateway.desk import LocalDesk
from freehold.gateway.ledger import Ledger
from freehold.gateway.permits import Permits
from freehold.gateway.remote_tools import RemoteServer, RemoteTools
from freehold.governance.digests import Digests
from freehold.governance.limits import UNLIMITED
from freehold.governance.policies import PolicyRegistry
from freehold.governance.suspensions import Suspensions
from freehold.journal.journal import Journal
from freehold.store.database import Database
from freehold.types.identity import DATA_PLANE, Principal
from freehold.types.mcp import McpServerSettings, McpTool
from tests.journal.journals import opened, records_of

ANN = Principal("org", "proj_a", "ann", roles=frozenset({"user"}), actions=DATA_PLANE)


@dataclass(frozen=True, slots=True)
class Trial:
    """What a test has."""

    tools: RemoteTools
    books: Books
    journal: Journal
    suspensions: Suspensions
    home: Path
    parent: Account
    principal: Principal = field(default=ANN)

    def server(self, **tool: Any) -> RemoteServer:
        """The server `desk`, as a request names it."""
        named = {"type": "mcp", "server_label": "desk", **tool}
        return self.tools.resolve(self.principal, McpTool.model_validate(named))

    def receipts(self) -> list[dict[str, Any]]:
        """What is on the disk of listings and calls, in the order in which they ended."""
        return [record["body"] for record in records_of(self.home) if record["kind"] == "receipt"]


def with_tools(home: Path, trial: Callable[[Trial], Awaitable[None]], *servers: McpServerSettings) -> None:
    """Run a trial with these servers."""
    home.mkdir(exist_ok=True)

    async def main() -> None:
        database = await Database.open(home / "freehold.db")
        try:
            async with opened(home) as journal:
                suspensions = Suspensions(database)
                desk = LocalDesk(journal, Ledger(lambda _: UNLIMITED))
                books = Books(desk, Digests(b"pepper"), lambda *_: None)
                permits = Permits(PolicyRegistry(database, list), suspensions)
                tools = RemoteTools(servers, books, permits)
                parent = books.open("req_parent", "/v1/responses", "openai")
                parent.called_by("someone")
                await trial(Trial(tools, books, journal, suspensions, home, parent))
                await tools.close()
        finally:
            await database.close()

    asyncio.run(main())


def settings(url: str, **more: Any) -> McpServerSettings:
    """The server `desk` at an address."""
    return McpServerSettings.model_validate({"label": "desk", "url": url, **more})
