"""Looking for words in conversations: in the values of their metadata, and in what messages say.

What is kept is encrypted, so each conversation that is looked at is decrypted, from its newest items on, in a thread
and piece by piece. One search is bounded by conversations and bytes; a list goes on behind where it stopped.
"""

import asyncio
import unicodedata
from collections.abc import AsyncGenerator, Callable, Iterable, Mapping, Sequence
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
CHUNK: Final = 25
"""How many conversations are looked into together, where they are small."""


class Search:
    """One search, which ends with its request.

    Args:
        store: where conversations lie.
        text: what is looked for; upper and lower case are the same.

    Attributes:
        is_cut: whether it ended before all was looked into.
    """

    def __init__(self, store: ItemStore, text: str) -> None:
        self.is_cut = False
        self._store = store
        self._text = folded(text)
        self._bytes, self._conversations = BYTES, LOOKED_AT

    async def over(
        self, holders: AsyncGenerator[Holder], fits: Callable[[Holder], bool]
    ) -> AsyncGenerator[tuple[Holder, bool]]:
        """Each of these conversations, and whether it fits and the text is in it.

        It ends after as many as it may look into.

        Args:
            holders: the conversations.
            fits: says of one whether it is looked into.
        """
        while chunk := await _taken(holders, CHUNK):
            if self._is_over:
                self.is_cut = True
                return
            sizes = await self._store.sizes([holder for holder in chunk if fits(holder)])
            pending: list[Holder] = []
            for holder in chunk:
                together = sum(sizes.get(each.id, 0) for each in (*pending, holder))
                if pending and together > PIECE_BYTES:
                    for told in await self._told(pending, sizes):
                        yield told
                    pending = []
                    if self._is_over:
                        self.is_cut = True
                        return
                pending.append(holder)
            for told in await self._told(pending, sizes):
                yield told

    @property
    def _is_over(self) -> bool:
        return self._bytes <= 0 or self._conversations <= 0

    async def _told(self, holders: Sequence[Holder], sizes: Mapping[str, int]) -> list[tuple[Holder, bool]]:
        """These conversations, and whether the text is in them; those without a size are not looked into."""
        wanted = [holder for holder in holders if holder.id in sizes]
        self._conversations -= len(wanted)
        hits = {holder.id for holder in wanted if self._is_label(holder)}
        within = [holder for holder in wanted if holder.id not in hits]
        if sum(sizes[holder.id] for holder in within) > PIECE_BYTES:
            hits |= {holder.id for holder in within if await self._finds(holder)}
        elif within:
            texts = await self._store.all_texts(within)
            self._bytes -= sum(len(text) for said in texts.values() for text in said)
            hits |= await asyncio.to_thread(self._found, texts)
        return [(holder, holder.id in hits) for holder in holders]

    async def _finds(self, holder: Holder) -> bool:
        """Whether the text is in a long conversation; its newest items are looked at, piece by piece."""
        most, after, more = BYTES_OF_ONE, None, True
        while more and most > 0:
            page = Page(PIECE_ITEMS, newest_first=True, after=after)
            texts, after = await self._store.texts(holder, page, min(most, PIECE_BYTES))
            size = sum(map(len, texts))
            self._bytes, most, more = self._bytes - size, most - size, after is not None
            if await asyncio.to_thread(self._is_in, texts):
                return True
        return False

    def _is_label(self, holder: Holder) -> bool:
        return any(self._text in folded(value) for value in holder.header["metadata"].values())

    def _found(self, texts: Mapping[str, Sequence[bytes]]) -> set[str]:
        return {name for name, said in texts.items() if self._is_in(said)}

    def _is_in(self, texts: Sequence[bytes]) -> bool:
        return any(self._text in folded(said) for text in texts for said in _said(orjson.loads(text)))


async def _taken(holders: AsyncGenerator[Holder], count: int) -> list[Holder]:
    """The next conversations, at most so many."""
    found: list[Holder] = []
    while len(found) < count and (holder := await anext(holders, None)) is not None:
        found.append(holder)
    return found


def folded(text: str) -> str:
    """A text as texts are compared."""
    return unicodedata.normalize("NFC", text.casefold())


def _said(item: dict[str, Any]) -> Iterable[str]:
    """The texts of a message; of anything else nothing."""
    if item["type"] != "message":
        return ()
    return [text for part in item["content"] if (text := part.get("text") or part.get("refusal"))]
