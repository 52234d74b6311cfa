"""The tool `image_generation`: the model writes a prompt, a deployment paints it, the caller gets the picture.

Every picture goes the way of `Gateway.paint`, with the filter of that deployment, its limits and a receipt of its own.
"""

import base64
import json
from collections.abc import AsyncGenerator
from contextlib import aclosing
from typing import Any, Final, Protocol

from freehold.errors import FreeholdError, InvalidRequest, UnsupportedParameter
from freehold.gateway.account import Account
from freehold.gateway.answers import PaintAnswer
from freehold.gateway.flights import ClientGone
from freehold.gateway.items import PREFIXES
from freehold.gateway.pictures import NO_UPLOADS, Uploads
from freehold.gateway.response_input import IMAGE_FUNCTION
from freehold.gateway.response_run import Accounts
from freehold.gateway.response_tool import ServerTool
from freehold.gateway.response_writer import StreamEvent, ToolCall, Writer
from freehold.types.chat import FunctionDefinition, Tool
from freehold.types.identity import Principal
from freehold.types.ids import new_id
from freehold.types.images import (
    DEFAULT_MODEL,
    MAX_PICTURES,
    MAX_PROMPT_CHARACTERS,
    ImageGenerationRequest,
    ImageRequest,
    PartialPicture,
    Picture,
)
from freehold.types.responses import ImageTool

SHOWN: Final = "The picture was painted, and the user sees it now."
_KIND: Final = "response.image_generation_call"


class Paint(Protocol):
    """See `Gateway.paint`."""

    async def __call__(
        self, principal: Principal, request: ImageRequest, uploads: Uploads, account: Account
    ) -> PaintAnswer:
        """Paint pictures."""


def check_painting(options: ImageTool, place: str) -> None:
    """Refuse what pictures cannot be made with.

    Args:
        options: how to paint.
        place: where in the request that stands.

    Raises:
        UnsupportedParameter: an option is not available; named.
    """
    for name, refused in (
        ("action", options.action == "edit"),
        ("input_fidelity", options.input_fidelity is not None),
        ("input_image_mask", options.input_image_mask is not None),
    ):
        if refused:
            raise UnsupportedParameter(
                f"Unsupported parameter: '{place}.{name}': pictures are painted from words only. To change a picture "
                "use /images/edits.",
                param=f"{place}.{name}",
            )


class ImageGeneration(ServerTool):
    """Paints what the model asks for.

    Args:
        paint: paints.
        accounts: of what is painted.
        principal: who asks.
        parent: the account of the request.
        options: how to paint.
        response_id: of the response.
        stream: whether the caller sees unfinished states.
    """

    def __init__(
        self,
        paint: Paint,
        accounts: Accounts,
        principal: Principal,
        parent: Account,
        options: ImageTool,
        response_id: str,
        *,
        stream: bool,
    ) -> None:
        self._paint = paint
        self._accounts = accounts
        self._principal = principal
        self._parent = parent
        self._options = options
        self._response_id = response_id
        self._stream = stream
        self._left = MAX_PICTURES

    @property
    def model(self) -> str:
        """The deployment that paints."""
        return self._options.model or DEFAULT_MODEL

    def function(self) -> Tool:
        """See `ServerTool.function`."""
        prompt = {"type": "string", "minLength": 1, "description": "What is to be seen in the picture."}
        schema = {
            "type": "object",
            "properties": {"prompt": prompt},
            "required": ["prompt"],
            "additionalProperties": False,
        }
        about = "Paints a picture from a description and shows it to the user."
        return Tool(
            type="function", function=FunctionDefinition(name=IMAGE_FUNCTION, description=about, parameters=schema)
        )

    def item(self) -> dict[str, Any]:
        """See `ServerTool.item`."""
        item_id = new_id(PREFIXES["image_generation_call"])
        return {"type": "image_generation_call", "id": item_id, "status": "in_progress", "result": None}

    async def run(self, call: ToolCall, writer: Writer) -> AsyncGenerator[StreamEvent]:
        """See `ServerTool.run`."""
        place = {"item_id": call.item["id"], "output_index": call.index}
        yield writer.event(f"{_KIND}.in_progress", **place)
        try:
            request = self._request(call.arguments)
            self._left -= 1
            if self._left < 0:
                raise _too_many()
            call.item["status"] = "generating"
            yield writer.event(f"{_KIND}.generating", **place)
            async with self._accounts.open(self._parent, self._response_id) as account:
                answer = await self._paint(self._principal, request, NO_UPLOADS, account)
                async with aclosing(answer.events) as events:
                    async for event in events:
                        if isinstance(event, Picture):
                            call.item["result"] = base64.b64encode(event.data).decode("ascii")
                        elif isinstance(event, PartialPicture):
                            yield self._partial(writer, place, event)
        except ClientGone:
            raise
        except FreeholdError as exc:
            call.item |= {"status": "failed", "result": None}
            call.result = f"No picture was painted: {exc.message}"
            return
        call.item["status"] = "completed"
        call.result = SHOWN
        yield writer.event(f"{_KIND}.completed", **place)

    def _partial(self, writer: Writer, place: dict[str, Any], event: PartialPicture) -> StreamEvent:
        data = base64.b64encode(event.data).decode("ascii")
        told = {"partial_image_index": event.partial_index, "partial_image_b64": data}
        return writer.event(
            f"{_KIND}.partial_image", **place, **told, output_format=self._options.output_format or "png"
        )

    def _request(self, arguments: str) -> ImageGenerationRequest:
        """What is painted.

        Raises:
            InvalidRequest: the model wrote no prompt.
        """
        try:
            prompt = json.loads(arguments)["prompt"]
        except (ValueError, KeyError, TypeError):
            prompt = None
        if not isinstance(prompt, str) or not prompt.strip():
            raise InvalidRequest("The arguments must be a JSON object with a 'prompt'.", param="prompt")
        options = self._options
        return ImageGenerationRequest(
            model=self.model,
            prompt=prompt[:MAX_PROMPT_CHARACTERS],
            size=options.size,
            quality=options.quality,
            background=options.background,
            moderation=options.moderation,
            output_format=options.output_format,
            output_compression=options.output_compression,
            response_format="b64_json",
            stream=self._stream or None,
            partial_images=options.partial_images if self._stream else None,
        )


def _too_many() -> InvalidRequest:
    return InvalidRequest(f"One response has at most {MAX_PICTURES} pictures.", param="tools")
