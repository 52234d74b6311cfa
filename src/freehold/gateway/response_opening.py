"""Puts together what responses are made with."""

from collections.abc import Mapping

from freehold.gateway.account import Account
from freehold.gateway.books import Books
from freehold.gateway.content import Content
from freehold.gateway.flights import Flights
from freehold.gateway.response_background import Background
from freehold.gateway.response_files import FileReader
from freehold.gateway.response_run import Accounts, Chat
from freehold.gateway.response_store import ResponseStore
from freehold.gateway.response_threads import Threads
from freehold.gateway.response_tool import ServerTool
from freehold.gateway.responses import ResponseParts, Responses, Vet
from freehold.types.identity import Principal
from freehold.types.responses import ResponseRequest


def open_responses(chat: Chat, vet: Vet, content: Content, books: Books, flights: Flights) -> Responses:
    """The responses of a home.

    Args:
        chat: asks a model.
        vet: looks whether a model may be asked.
        content: what is kept.
        books: where requests are admitted.
        flights: running requests.
    """
    store, accounts = ResponseStore(content.responses), Accounts(books)

    async def tools(
        _principal: Principal, _request: ResponseRequest, _account: Account, _response_id: str
    ) -> Mapping[str, ServerTool]:
        return {}

    return Responses(
        ResponseParts(
            chat=chat,
            vet=vet,
            tools=tools,
            accounts=accounts,
            store=store,
            threads=Threads(store, content.conversations),
            reader=FileReader(content.files),
            background=Background(store, accounts, flights),
        )
    )
