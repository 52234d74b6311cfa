"""The pieces of an answer that is wanted whole, put together before anybody looks at them."""

from collections.abc import Iterable

from freehold.types.generation import Delta


class Joiner:
    """Puts deltas of a choice that follow one another together, where they have nothing but text.

    Args:
        most: code points after which what was put together goes on.
    """

    def __init__(self, most: int) -> None:
        self._most = most
        self._texts: dict[int, list[str]] = {}
        self._size = 0

    def take(self, delta: Delta) -> Iterable[Delta]:
        """Take the next delta; what goes on now."""
        choice = delta.choice
        if delta.finish_reason or delta.reasoning or delta.tool_calls or delta.logprobs:
            held = self._texts.pop(choice, None)
            if held is None:
                return (delta,)
            text = "".join(held)
            if delta.reasoning or delta.tool_calls or delta.logprobs:
                return (Delta(choice, text=text), delta)
            return (Delta(choice, text=text + delta.text, finish_reason=delta.finish_reason),)
        held = self._texts.get(choice)
        if held is None:
            held = self._texts[choice] = []
        held.append(delta.text)
        self._size += len(delta.text)
        return self.rest() if self._size >= self._most else ()

    def rest(self) -> Iterable[Delta]:
        """Everything that is held."""
        self._size = 0
        texts, self._texts = self._texts, {}
        return [Delta(choice, text="".join(pieces)) for choice, pieces in texts.items()]
