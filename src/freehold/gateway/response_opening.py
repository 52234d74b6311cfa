"""Puts together what responses are made with."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from freehold.errors import InvalidRequest
from freehold.gateway.account import Account
from freehold.gateway.books import Books
from freehold.gateway.content import Content
from freehold.gateway.flights import Flights
from freehold.gateway.response_background import Background
from freehold.gateway.response_files import FileReader
from freehold.gateway.response_images import ImageGeneration, Paint
from freehold.gateway.response_input import IMAGE_FUNCTION
from freehold.gateway.response_run import Accounts, Chat
from freehold.gateway.response_store import ResponseStore
from freehold.gateway.response_threads import Threads
from freehold.gateway.response_tool import ServerTool
from freehold.gateway.responses import CountTokens, ResponseParts, Responses, Vet
from freehold.types.identity import Principal
from freehold.types.responses import ImageTool, ResponseRequest


@dataclass(frozen=True, slots=True)
class Models:
    """What models do for responses.

    Args:
        chat: asks one.
        vet: looks whether one may be asked.
        paint: lets one paint.
        find: looks whether there is one of a name for a caller.
        count: counts the tokens of what one would be asked.
    """

    chat: Chat
    vet: Vet
    paint: Paint
    find: Callable[[Principal, str], object]
    count: CountTokens


def open_responses(models: Models, content: Content, books: Books, flights: Flights) -> Responses:
    """The responses of a home.

    Args:
        models: that are asked.
        content: what is kept.
        books: where requests are admitted.
        flights: running requests.
    """
    store, accounts = ResponseStore(content.responses), Accounts(books)

    async def tools(
        principal: Principal, request: ResponseRequest, account: Account, response_id: str
    ) -> Mapping[str, ServerTool]:
        found: dict[str, ServerTool] = {}
        for options in request.tools or ():
            if isinstance(options, ImageTool):
                tool = ImageGeneration(
                    models.paint, accounts, principal, account, options, response_id, stream=bool(request.stream)
                )
                models.find(principal, tool.model)
                if IMAGE_FUNCTION in found:
                    raise InvalidRequest("'image_generation' is among the tools twice.", param="tools")
                found[IMAGE_FUNCTION] = tool
        return found

    return Responses(
        ResponseParts(
            chat=models.chat,
            vet=models.vet,
            count=models.count,
            tools=tools,
            accounts=accounts,
            store=store,
            threads=Threads(store, content.conversations),
            reader=FileReader(content.files),
            background=Background(store, accounts, flights),
        )
    )
