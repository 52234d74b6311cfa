import asyncio
import socket
from collections.abc import Awaitable, Callable, Sequence
from typing import Any

import pytest

from freehold.errors import AuditUnavailable, DeploymentNotFound, Overloaded, QuotaExceeded
from freehold.workers.link import Link


class End:
    """One end of a link that says back what it hears, or fails as it is told."""

    def __init__(self) -> None:
        self.heard: list[tuple[str, list[Any]]] = []
        self.lost = 0
        self.link = Link(self._hear, self._lose)

    def _hear(self, number: int, kind: str, values: Sequence[Any]) -> None:
        self.heard.append((kind, list(values)))
        if kind == "overload":
            error = Overloaded("too many", retry_after_s=2.5, scope="deployment", headers={"x-ratelimit-limit": "1"})
            self.link.fail(number, error)
        elif kind != "silence":
            self.link.answer(number, values)

    def _lose(self) -> None:
        self.lost += 1


def linked(trial: Callable[[End, End], Awaitable[None]]) -> None:
    """Run a trial with both ends of a link."""

    async def main() -> None:
        ends = End(), End()
        loop = asyncio.get_running_loop()
        for end, sock in zip(ends, socket.socketpair(), strict=True):
            sock.setblocking(False)
            await loop.create_unix_connection(lambda link=end.link: link, sock=sock)  # type: ignore[misc]
        await trial(*ends)
        for end in ends:
            end.link.close()
        await asyncio.sleep(0.01)

    asyncio.run(main())


def test_each_question_gets_its_own_answer() -> None:
    """Of many questions at once each gets the answer to it, whatever its size."""

    async def trial(near: End, far: End) -> None:
        texts = ["x" * size for size in (0, 1, 70_000, 3, 500_000, 2)]
        assert await asyncio.gather(*(near.link.ask("echo", text) for text in texts)) == [[text] for text in texts]
        assert [values for _, values in far.heard] == [[text] for text in texts]

    linked(trial)


def test_both_sides_may_ask() -> None:
    """A question and an answer of the other side do not get in each other's way."""

    async def trial(near: End, far: End) -> None:
        found = await asyncio.gather(near.link.ask("a", 1), far.link.ask("b", 2), near.link.ask("c", 3))
        assert list(found) == [[1], [2], [3]]

    linked(trial)


def test_an_error_arrives_as_what_it_is() -> None:
    """An error has its class and all that it carries at the other end."""

    async def trial(near: End, _far: End) -> None:
        with pytest.raises(Overloaded) as caught:
            await near.link.ask("overload")
        error = caught.value
        assert (error.message, error.code, error.scope) == ("too many", "resource_unavailable", "deployment")
        assert (error.retry_after_s, error.headers, str(error)) == (2.5, {"x-ratelimit-limit": "1"}, "too many")

    linked(trial)


def test_whoever_asked_is_told_when_the_other_side_is_gone() -> None:
    """What was asked before fails, what is asked afterwards fails at once, and the end is told once."""

    async def trial(near: End, far: End) -> None:
        asked = near.link.ask("silence")
        await asyncio.sleep(0.01)
        far.link.close()
        with pytest.raises(AuditUnavailable):
            await asked
        with pytest.raises(AuditUnavailable):
            await near.link.ask("echo")
        near.link.post("echo")
        assert near.lost == 1

    linked(trial)


def test_what_cannot_be_sent_harms_nothing_else() -> None:
    """A value that JSON has not is told to whoever sends it, and what others send in the same turn arrives."""

    async def trial(near: End, _far: End) -> None:
        asked = near.link.ask("echo", 1)
        with pytest.raises(TypeError):
            near.link.ask("echo", object())
        assert list(await asyncio.gather(asked, near.link.ask("echo", 2))) == [[1], [2]]

    linked(trial)


@pytest.mark.parametrize("error", [DeploymentNotFound("no-such"), QuotaExceeded("spent", scope="project")])
def test_errors_with_arguments_of_their_own_arrive(error: Exception) -> None:
    """Errors whose making takes something else than a message arrive too."""

    async def trial(near: End, far: End) -> None:
        def refuse(number: int, _kind: str, _values: Sequence[Any]) -> None:
            far.link.fail(number, error)  # type: ignore[arg-type]  # both are errors of ours

        far.link._heard = refuse
        with pytest.raises(type(error)) as caught:
            await near.link.ask("anything")
        assert vars(caught.value) == vars(error)

    linked(trial)
