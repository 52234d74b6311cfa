"""Where conversations, responses and stored completions lie: a sealed header for each, and a sealed row for each item.

What a person makes is that person's alone; what a service account makes belongs to its project, as OpenAI's API has it
for everything. Nobody learns that something exists which is not there for him.
"""

import math
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, TypeAlias

import orjson
from sqlalchemy import ColumnElement

from freehold.encryption.cipher import ContentCipher, Piece
from freehold.errors import InvalidRequest
from freehold.governance.retention import RetentionRegistry
from freehold.store.database import Database
from freehold.store.item_copies import add_unheld, hold, items_between, place_of
from freehold.store.item_sets import item_sizes, items_of
from freehold.store.kept_items import (
    HolderRow,
    ItemRow,
    ItemTables,
    Page,
    Reader,
    add_holder,
    add_items,
    delete_holder,
    delete_item,
    find_item,
    get_holder,
    get_item,
    list_holders,
    list_items,
    update_holder,
)
from freehold.types.content import ContentKind, Tenant, tenant_of
from freehold.types.identity import MemberKind, Principal

PAGE_BYTES: Final = 32 * 1024 * 1024
"""Of items that are read at a time, as they are stored: a page of large ones has fewer than it may have."""
COPIED_AT_ONCE: Final = 200
"""Items, in one transaction, and at most `COPIED_BYTES` of them."""
COPIED_BYTES: Final = 4 * 1024 * 1024

Item: TypeAlias = Mapping[str, Any]
"""An item as callers see it, with its `id`."""


@dataclass(frozen=True, slots=True)
class Holder:
    """A conversation, a response or a stored completion, opened.

    Args:
        row: as it is stored.
        header: what there is to say of it beside its items.
    """

    row: HolderRow
    header: dict[str, Any]

    @property
    def id(self) -> str:
        """Names it."""
        return self.row.id


class ItemStore:
    """The things of one kind.

    Every method may raise ContentUnreadable, ProjectKeyRevoked or KeyServiceUnavailable where content cannot be
    encrypted or decrypted, and HomeError where the database cannot be used.

    Args:
        database: where they lie.
        cipher: encrypts them.
        retention: how long they are kept.
        kind: which kind of content they are.
        tables: where its rows are.
        clock: seconds since the epoch.
    """

    def __init__(
        self,
        database: Database,
        cipher: ContentCipher,
        retention: RetentionRegistry,
        kind: ContentKind,
        tables: ItemTables,
        *,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self.database = database
        self.tables = tables
        self.clock = clock
        self._cipher = cipher
        self._retention = retention
        self._kind = kind

    def check_keeping(self, principal: Principal, param: str, instead: str = "") -> None:
        """Return if something may be kept for the caller's project.

        Raises:
            ZeroRetention: nothing is kept for it.
        """
        self._retention.check_keeping(principal.organization_id, principal.project_id, param, instead)

    def keeps(self, principal: Principal) -> bool:
        """Whether anything may be kept for the caller's project."""
        return not self._retention.effective(principal.organization_id, principal.project_id).zero

    async def create(
        self,
        principal: Principal,
        holder_id: str,
        header: Mapping[str, Any],
        items: Sequence[tuple[str, Item]] = (),
        **columns: Any,
    ) -> Holder:
        """Keep a new thing.

        Args:
            principal: who makes it.
            holder_id: names it.
            header: what there is to say of it.
            items: its first items, each with its side.
            columns: those that only its kind has.
        """
        row = await self.row(principal, holder_id, header, **columns)
        await add_holder(self.database, self.tables, row, await self.sealed(tenant_of(principal), row, items))
        return Holder(row, dict(header))

    async def row(self, principal: Principal, holder_id: str, header: Mapping[str, Any], **columns: Any) -> HolderRow:
        """A new thing as it is stored; arguments as `create`."""
        now = math.floor(self.clock())
        tenant = tenant_of(principal)
        return HolderRow(
            id=holder_id,
            organization_id=tenant.organization_id,
            project_id=tenant.project_id,
            owner_id=tenant.owner_id,
            private=principal.kind is MemberKind.USER,
            header=await self._seal(tenant, holder_id, header),
            created_at=now,
            expires_at=now + self._retention.keep_s(tenant.organization_id, tenant.project_id, self._kind),
            more=columns,
        )

    async def get(self, principal: Principal, holder_id: str) -> Holder | None:
        """A thing that is there for the caller; None if it is not."""
        row = await get_holder(self.database, self.tables, self._reader(principal), holder_id)
        return None if row is None else await self._opened(row)

    async def page(self, principal: Principal, page: Page, *conditions: ColumnElement[bool]) -> list[Holder]:
        """Things that are there for the caller and meet the conditions, in the order of time."""
        rows = await list_holders(self.database, self.tables, self._reader(principal), page, *conditions)
        return [await self._opened(row) for row in rows]

    async def update(self, holder: Holder, header: Mapping[str, Any], **columns: Any) -> bool:
        """Say something else of a thing; false if it is gone."""
        sealed = await self.sealed_header(holder.row, header)
        return await update_holder(self.database, self.tables, holder.id, {"header": sealed, **columns})

    async def set(self, holder: Holder, **columns: Any) -> bool:
        """Change columns of a thing, and nothing that is said of it; false if it is gone."""
        return await update_holder(self.database, self.tables, holder.id, columns)

    async def delete(self, holder: Holder) -> bool:
        """Remove a thing with its items; false if it is gone already."""
        return await delete_holder(self.database, self.tables, holder.id)

    async def append(self, principal: Principal, holder: Holder, items: Sequence[tuple[str, Item]]) -> bool:
        """Add items behind the last; false if the thing is gone."""
        rows = await self.sealed(tenant_of(principal), holder.row, items)
        return await add_items(self.database, self.tables, holder.id, rows)

    async def items(
        self, holder: Holder, page: Page, side: str | None = None, *, most_bytes: int | None = PAGE_BYTES
    ) -> tuple[list[dict[str, Any]], bool]:
        """Items of a thing in their order, and whether there are more.

        Args:
            holder: the thing.
            page: which of its items.
            side: only those of this side, if given.
            most_bytes: how large they may be together, but for a single one; None for as large as they are.

        Raises:
            InvalidRequest: there is no item `page.after`.
        """
        found = await list_items(
            self.database, self.tables, holder.id, page, now_s=self.clock(), side=side, most_bytes=most_bytes
        )
        if found is None:
            raise InvalidRequest(f"There is no item '{(page.after or '')[:64]}' here.", param="after")
        rows, more = found
        return [orjson.loads(text) for text in await self._texts(holder.id, rows)], more

    async def copy(
        self,
        principal: Principal,
        source: Holder,
        holder_id: str,
        header: Mapping[str, Any],
        last: str | None,
        **columns: Any,
    ) -> tuple[Holder, int] | None:
        """Keep a new thing with copies of another's items, up to one of them, under the same ids; and how many.

        The new thing is there with all of them at once.

        Args:
            principal: who makes it, and whose the copies are.
            source: has the items.
            holder_id: names the new thing.
            header: what there is to say of it.
            last: the id of the last item that is copied; empty for none, None for all.
            columns: those that only its kind has.

        Returns:
            None if there is no item `last`.
        """
        row = await self.row(principal, holder_id, header, **columns)
        end = None if last == "" else await place_of(self.database, self.tables, source.id, last)
        if last and end is None:
            return None
        place, count = 0, 0
        while end is not None and place <= end:
            rows, place = await items_between(
                self.database,
                self.tables,
                source.id,
                (place, end),
                now_s=self.clock(),
                limit=COPIED_AT_ONCE,
                most_bytes=COPIED_BYTES,
            )
            await add_unheld(self.database, self.tables, holder_id, await self._resealed(source.id, row, rows))
            count += len(rows)
        await hold(self.database, self.tables, row)
        return Holder(row, dict(header)), count

    async def texts(self, holder: Holder, page: Page, most_bytes: int) -> tuple[list[bytes], str | None]:
        """Items as JSON texts, those behind the first only as far as all together are no larger than `most_bytes`.

        Returns:
            The texts, and the id of the last one where there are more; no text at all where the thing is gone.
        """
        found = await list_items(self.database, self.tables, holder.id, page, now_s=self.clock(), most_bytes=most_bytes)
        rows, more = found or ([], False)
        return await self._texts(holder.id, rows), rows[-1].id if more and rows else None

    async def sizes(self, holders: Sequence[Holder]) -> dict[str, int]:
        """How large each thing's items are together, as they are stored, by its id."""
        return await item_sizes(self.database, self.tables, [holder.id for holder in holders], now_s=self.clock())

    async def all_texts(self, holders: Sequence[Holder]) -> dict[str, list[bytes]]:
        """All items of several small things as JSON texts, by the things' ids."""
        names = [holder.id for holder in holders]
        rows = await items_of(self.database, self.tables, names, now_s=self.clock())
        pieces = [Piece(_tenant(row), f"{name}/{row.id}", row.content) for name, row in rows]
        found: dict[str, list[bytes]] = {name: [] for name in names}
        for (name, _), text in zip(rows, await self._cipher.open_all(self._kind.name, pieces), strict=True):
            found[name].append(text)
        return found

    async def item(self, holder: Holder, item_id: str) -> dict[str, Any] | None:
        """An item of a thing; None if there is none."""
        row = await get_item(self.database, self.tables, holder.id, item_id, now_s=self.clock())
        return None if row is None else await self._item(holder.id, row)

    async def find(self, principal: Principal, item_id: str) -> dict[str, Any] | None:
        """An item of anything that is there for the caller; None if there is none."""
        found = await find_item(self.database, self.tables, self._reader(principal), item_id)
        return None if found is None else await self._item(*found)

    async def remove(self, holder: Holder, item_id: str) -> bool:
        """Remove an item; false if there is none."""
        return await delete_item(self.database, self.tables, holder.id, item_id)

    async def sealed_header(self, row: HolderRow, header: Mapping[str, Any]) -> bytes:
        """A header as it is stored."""
        return await self._seal(_tenant(row), row.id, header)

    async def sealed(self, tenant: Tenant, holder: HolderRow, items: Sequence[tuple[str, Item]]) -> list[ItemRow]:
        """Items as they are stored: each its owner's who adds it, and gone with what it belongs to."""
        now = math.floor(self.clock())
        return [
            ItemRow(
                id=item["id"],
                side=side,
                organization_id=tenant.organization_id,
                project_id=tenant.project_id,
                owner_id=tenant.owner_id,
                content=await self._seal(tenant, f"{holder.id}/{item['id']}", item),
                created_at=now,
                expires_at=holder.expires_at,
            )
            for side, item in items
        ]

    async def seal_part(self, row: HolderRow, name: str, content: bytes) -> bytes:
        """Another part of a thing as it is stored."""
        return await self._cipher.seal(_tenant(row), self._kind.name, f"{row.id}/{name}", content)

    async def open_part(self, row: HolderRow, name: str, sealed: bytes) -> bytes:
        """What `seal_part` sealed."""
        return await self._cipher.open(_tenant(row), self._kind.name, f"{row.id}/{name}", sealed)

    async def _texts(self, holder_id: str, rows: Sequence[ItemRow]) -> list[bytes]:
        """What is in items, as JSON."""
        return await self._cipher.open_all(
            self._kind.name, [Piece(_tenant(row), f"{holder_id}/{row.id}", row.content) for row in rows]
        )

    async def _resealed(self, source_id: str, holder: HolderRow, rows: Sequence[ItemRow]) -> list[ItemRow]:
        """Items of one thing as those of another and of its owner."""
        tenant, now = _tenant(holder), math.floor(self.clock())
        texts = await self._texts(source_id, rows)
        pieces = [Piece(tenant, f"{holder.id}/{row.id}", text) for row, text in zip(rows, texts, strict=True)]
        contents = await self._cipher.seal_all(self._kind.name, pieces)
        return [
            ItemRow(row.id, row.side, holder.organization_id, holder.project_id, holder.owner_id, content, now, 0)
            for row, content in zip(rows, contents, strict=True)
        ]

    def _reader(self, principal: Principal) -> Reader:
        return Reader(principal.organization_id, principal.project_id, principal.id, self.clock())

    async def _seal(self, tenant: Tenant, row: str, value: Mapping[str, Any]) -> bytes:
        return await self._cipher.seal(tenant, self._kind.name, row, orjson.dumps(value))

    async def _opened(self, row: HolderRow) -> Holder:
        data = await self._cipher.open(_tenant(row), self._kind.name, row.id, row.header)
        return Holder(row, orjson.loads(data))

    async def _item(self, holder_id: str, row: ItemRow) -> dict[str, Any]:
        found: dict[str, Any] = orjson.loads(
            await self._cipher.open(_tenant(row), self._kind.name, f"{holder_id}/{row.id}", row.content)
        )
        return found


def _tenant(row: HolderRow | ItemRow) -> Tenant:
    """Whose a row is."""
    return Tenant(row.organization_id, row.project_id, row.owner_id)
