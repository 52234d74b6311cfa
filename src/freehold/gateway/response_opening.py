"""Puts together what responses are made with."""

from collections.abc import Callable
from dataclasses import dataclass

from freehold.catalog.deployments import Deployment
from freehold.errors import DeploymentNotFound, InvalidRequest, RequestError
from freehold.gateway.account import Account
from freehold.gateway.books import Books
from freehold.gateway.content import Content
from freehold.gateway.flights import Flights
from freehold.gateway.remote_tools import RemoteTools
from freehold.gateway.response_background import Background
from freehold.gateway.response_files import FileReader
from freehold.gateway.response_images import ImageGeneration, Paint, check_painting
from freehold.gateway.response_input import IMAGE_FUNCTION
from freehold.gateway.response_mcp import add_server
from freehold.gateway.response_run import Accounts, Chat
from freehold.gateway.response_store import ResponseStore
from freehold.gateway.response_threads import Threads
from freehold.gateway.response_toolbox import ServerTools
from freehold.gateway.responses import CountTokens, ResponseParts, Responses, Vet
from freehold.types.identity import Principal
from freehold.types.mcp import McpTool
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
    find: Callable[[Principal, str], Deployment]
    count: CountTokens


def open_responses(models: Models, content: Content, books: Books, flights: Flights, remote: RemoteTools) -> Responses:
    """The responses of a home.

    Args:
        models: that are asked.
        content: what is kept.
        books: where requests are admitted.
        flights: running requests.
        remote: tools of MCP servers.
    """
    store, accounts = ResponseStore(content.responses), Accounts(books)
    background = Background(store, accounts, flights)

    async def tools(principal: Principal, request: ResponseRequest, account: Account, response_id: str) -> ServerTools:
        found = ServerTools()
        pictures = [(place, each) for place, each in enumerate(request.tools or ()) if isinstance(each, ImageTool)]
        if len(pictures) > 1:
            raise InvalidRequest("'image_generation' is among the tools twice.", param="tools")
        for place, options in pictures:
            check_painting(options, f"tools[{place}]")
            stream = bool(request.stream)
            tool = ImageGeneration(models.paint, accounts, principal, account, options, response_id, stream=stream)
            try:
                models.find(principal, tool.model)
            except DeploymentNotFound as exc:
                exc.param = f"tools[{place}].model"  # else it would look as if there were no model that answers
                raise
            found.tools[IMAGE_FUNCTION] = tool
        try:
            for place, given in enumerate(request.tools or ()):
                if isinstance(given, McpTool):
                    await add_server(found, remote, principal, account, given, f"tools[{place}]")
        except BaseException:
            await found.close()
            raise
        return found

    def name(principal: Principal, model: str) -> str:
        try:
            return models.find(principal, model).name
        except RequestError:
            return model  # what is wrong with it is told when it is asked

    return Responses(
        ResponseParts(
            chat=models.chat,
            vet=models.vet,
            count=models.count,
            tools=tools,
            name=name,
            accounts=accounts,
            store=store,
            threads=Threads(store, content.conversations, lambda name: background.live(name) is not None),
            reader=FileReader(content.files),
            background=background,
        )
    )
