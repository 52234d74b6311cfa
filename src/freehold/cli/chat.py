"""`freehold chat`: talk with a deployment."""

import asyncio
import sys
from collections.abc import AsyncIterator
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any

import typer

from freehold.cli.control import open_service
from freehold.cli.lazy import command_group
from freehold.cli.options import HomeOption, JsonOption, home_of
from freehold.cli.output import print_error, print_json, print_note
from freehold.cli.requests import (
    MaxTokensOption,
    ModelOption,
    SeedOption,
    StopOption,
    TemperatureOption,
    TopPOption,
    print_pieces,
    read_text,
    sampling,
)
from freehold.errors import FreeholdError

app = command_group()

_PATH = "/v1/chat/completions"
_EPILOG = """\b
Examples:
  freehold chat "Write a haiku about rivers."
  freehold chat --system "Answer in French." - < question.txt
  freehold chat"""


@dataclass(frozen=True, slots=True)
class Conversation:
    """Whom to ask and how, and what was said so far."""

    home: Path
    model: str
    parameters: dict[str, Any]
    messages: tuple[dict[str, str], ...] = field(default=())

    def with_message(self, role: str, content: str) -> "Conversation":
        """The conversation after one more message."""
        messages = (*self.messages, {"role": role, "content": content})
        return Conversation(self.home, self.model, self.parameters, messages)

    def body(self, *, stream: bool) -> dict[str, Any]:
        """The request for the next answer."""
        return {"model": self.model, "messages": list(self.messages), "stream": stream, **self.parameters}


@app.command(epilog=_EPILOG)
def chat(
    prompt: Annotated[
        str | None, typer.Argument(metavar="PROMPT", help="What to say; '-' reads it from stdin.")
    ] = None,
    model: ModelOption = "chat",
    system: Annotated[str | None, typer.Option("--system", "-s", help="Instructions for the assistant.")] = None,
    temperature: TemperatureOption = None,
    top_p: TopPOption = None,
    max_tokens: MaxTokensOption = None,
    seed: SeedOption = None,
    stop: StopOption = None,
    home: HomeOption = None,
    as_json: JsonOption = False,
) -> None:
    """Say something to a deployment and print its answer as it comes; without a prompt, have a conversation.

    Needs a running server. --json prints the API's whole answer.
    """
    parameters = sampling(temperature, top_p, max_tokens, seed, stop)
    conversation = Conversation(home_of(home), model, parameters)
    if system is not None:
        conversation = conversation.with_message("system", system)
    if prompt is None and sys.stdin.isatty() and not as_json:
        _converse(conversation)
        return
    conversation = conversation.with_message("user", read_text(prompt, "prompt"))
    if as_json:
        print_json(asyncio.run(_ask(conversation)))
    else:
        asyncio.run(_answer(conversation))


async def _ask(conversation: Conversation) -> dict[str, Any]:
    """The API's answer, in one piece."""
    async with open_service(conversation.home) as service:
        return await service.request("POST", _PATH, conversation.body(stream=False))


async def _answer(conversation: Conversation) -> str:
    """Print the answer as it comes, and return it."""
    async with open_service(conversation.home) as service:
        return await print_pieces(_pieces(service.events(_PATH, conversation.body(stream=True))))


async def _pieces(events: AsyncIterator[dict[str, Any]]) -> AsyncIterator[str]:
    """The text in the chunks of a streamed chat completion."""
    async for event in events:
        for choice in event.get("choices") or []:
            piece = choice.get("delta", {}).get("content")
            if piece:
                yield piece


def _converse(start: Conversation) -> None:
    """Take turns until the person leaves. A failed or interrupted turn is forgotten, the conversation is not."""
    with suppress(ImportError):
        import readline  # noqa: F401, PLC0415  # gives input() editing and history where Python has it
    asyncio.run(_reach(start.home))
    print_note(f"Talking with '{start.model}'. /new begins anew, /exit (or Ctrl-D) leaves.")
    conversation = start
    while True:
        try:
            said = input("\n> ").strip()
        except EOFError:
            print()
            return
        if said in {"/exit", "/quit"}:
            return
        if said == "/new":
            conversation = start
            print_note("A new conversation.")
        elif said.startswith("/"):
            print_note("There are /new and /exit.")
        elif said:
            conversation = _turn(conversation.with_message("user", said), conversation)


def _turn(asked: Conversation, before: Conversation) -> Conversation:
    """Get one answer; the conversation with it, or as it was before where none came."""
    try:
        return asked.with_message("assistant", asyncio.run(_answer(asked)))
    except KeyboardInterrupt:
        print_note("\n(interrupted)")
    except FreeholdError as exc:
        print_error(exc.message)
    return before


async def _reach(home: Path) -> None:
    """Return if a server can be reached."""
    async with open_service(home):
        return
