"""Looking for words in conversations: in the values of their metadata, and in what messages say.

What is kept is encrypted, so each conversation that is looked at is decrypted, from its newest items on, in a thread
and piece by piece. One search is bounded by conversations and bytes; a list goes on behind where it stopped.
"""

import asyncio
import unicodedata
from collections.abc import Iterable, Sequence
from typing import Any, Final

import orjson

from freehold.gateway.item_store import Holder, ItemStore
from freehold.store.kept_items import Page

LOOKED_AT: Final = 200
"""How many conversations one request looks into."""
BYTES: Final = 16 * 1024 * 1024
"""How much one request decrypts before it goes no further."""
BYTES_OF_ONE: Final = 4 * 1024 * 1024
"""How much of one conversation is looked at, its newest items, so that a long one does not hold up the others."""
PIECE_BYTES: Final = 1024 * 1024
PIECE_ITEMS: Final = 500


class Search:
    """One search, which ends with its request.

    Args:
        store: where conversations lie.
        text: what is looked for; upper and lower case are the same.
    """

    def __init__(self, store: ItemStore, text: str) -> None:
        self._store = store
        self._text = folded(text)
        self._left = BYTES

    @property
    def is_over(self) -> bool:
        """Whether it has decrypted as much as it may."""
        return self._left <= 0

    async def finds(self, holder: Holder) -> bool:
        """Whether the text is in a conversation."""
        if any(self._text in folded(value) for value in holder.header["metadata"].values()):
            return True
        most, after, more = BYTES_OF_ONE, None, True
        while more and most > 0:
            page = Page(PIECE_ITEMS, newest_first=True, after=after)
            texts, after = await self._store.texts(holder, page, min(most, PIECE_BYTES))
            size = sum(map(len, texts))
            self._left, most, more = self._left - size, most - size, after is not None
            if await asyncio.to_thread(self._is_in, texts):
                return True
        return False

    def _is_in(self, texts: Sequence[bytes]) -> bool:
        return any(self._text in folded(said) for text in texts for said in _said(orjson.loads(text)))


def folded(text: str) -> str:
    """A text as texts are compared."""
    return unicodedata.normalize("NFC", text.casefold())


def _said(item: dict[str, Any]) -> Iterable[str]:
    """The texts of a message; of anything else nothing."""
    if item["type"] != "message":
        return ()
    return [text for part in item["content"] if (text := part.get("text") or part.get("refusal"))]
