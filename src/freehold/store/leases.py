"""Leases in PostgreSQL: one short transaction deals out many accounts, each under the lock of its row.

What is dealt out is decided by a function that is given the account as it is (`freehold.gateway.leases_pool`); here it
is only read and written. Every transaction begins by locking the gateway's own row, and with it the epoch: what an
earlier process of the same gateway still had under way is done before, or not at all.
"""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from typing import Any, Final, TypeAlias

import orjson
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection

from freehold.errors import Unavailable
from freehold.store.lease_tables import lease_accounts, lease_slices
from freehold.types.leases import CONCURRENT, REQUESTS, TOKENS, UNITS, Account, Ask, Pool, Slice, Taken, Told

Connect: TypeAlias = Callable[[], Awaitable[Any]]
Settle: TypeAlias = Callable[[Pool, str, Ask, int], Told]
Spent: TypeAlias = Mapping[tuple[str, str], tuple[int, int]]
"""(day or month, subject) → what is spent and reserved, and what is spent."""

TRANSACTION_TIMEOUT_S: Final = 5.0
Bury: TypeAlias = Callable[[Pool, str, int], None]
_EXPIRING: Final = [REQUESTS, TOKENS, CONCURRENT]
"""Of what is not used of these nothing is left, when a gateway starts anew; units are another matter."""
_SLICE: Final = ("amount", "used", "spent", "seen_us", "short_us", "oldest_us")
"""The columns of a slice that are numbers, in the order of `Slice`."""
_NOW: Final = "(extract(epoch FROM clock_timestamp()) * 1000000)::bigint"


class Fenced(Exception):  # what happened to the holder, told by its own name
    """The gateway holds nothing any more.

    Args:
        removed: whether it was removed; otherwise another process has started in its place.
    """

    def __init__(self, *, removed: bool) -> None:
        super().__init__("removed" if removed else "another process has started in this gateway's place")
        self.removed = removed


@dataclass(frozen=True, slots=True)
class Holder:
    """A gateway, in one life.

    Args:
        id: the digest of its journal's key.
        name: for people.
        epoch: how often it has started; 0 before the first time.
    """

    id: str
    name: str
    epoch: int = 0


class LeaseStore:
    """The tables of leases, by one connection that is made when it is needed and again after an error.

    Args:
        connect: makes a connection of asyncpg, with `numeric` as integers.
        failures: what it raises when something is wrong with the database or the way to it.
        shown: how the database is called in messages.
    """

    def __init__(self, connect: Connect, failures: tuple[type[Exception], ...], shown: str) -> None:
        self._connect = connect
        self._failures = failures
        self._shown = shown
        self._connection: Any = None
        self._turn = asyncio.Lock()

    async def begin(
        self, holder: Holder, known: Spent, bury: Bury, *, lived_on: bool = False
    ) -> tuple[Holder, dict[tuple[str, str], int]]:
        """Begin a new life of a gateway: what it held before and did not use is free again.

        Args:
            holder: the gateway.
            known: what its journal says is spent.
            bury: has it hold nothing of an account of units; what it had not used counts as taken.
            lived_on: whether it was only thought to be dead, and knows for certain what it has spent and reserved.
                Otherwise what the database knows goes before: the journal may be an old copy of itself.

        Returns:
            The gateway in its new life, and what the database knows to be spent by it.

        Raises:
            Unavailable: the database cannot be reached or used.
        """
        async with self._transaction() as connection:
            epoch = await connection.fetchval(_BEGIN, holder.id, holder.name)
            rows = await connection.fetch(
                "SELECT measure, subject, spent FROM lease_slices WHERE holder = $1 AND NOT measure = ANY($2)",
                holder.id,
                [*_EXPIRING, UNITS],
            )
            spent = {(row["measure"], row["subject"]): row["spent"] for row in rows}
            if lived_on:
                merged = {name: used for name, (used, _) in known.items()}
            else:
                merged = {name: max(spent.get(name, 0), known.get(name, (0, 0))[0]) for name in {*spent, *known}}
            await connection.execute(
                "DELETE FROM lease_slices WHERE holder = $1 AND measure = ANY($2)", holder.id, _EXPIRING
            )
            await _bury_units(connection, holder.id, bury)
            await _set_money(connection, holder.id, {name: (micro, micro) for name, micro in merged.items()})
        return replace(holder, epoch=epoch), merged

    async def exchange(self, holder: Holder, asks: Sequence[Ask], spent: Spent, settle: Settle) -> list[Told]:
        """Have accounts settled, and write down what was spent where nothing is limited.

        Args:
            holder: who asks.
            asks: for each account once, in the order of the accounts.
            spent: of accounts that are not asked for.
            settle: deals an account out.

        Raises:
            Fenced: the gateway holds nothing any more; nothing was done.
            Unavailable: the database cannot be reached or used; whether it was done is not known.
        """
        async with self._transaction() as connection:
            now_us = await connection.fetchval(_ENTER, holder.id, holder.epoch)
            if now_us is None:
                known = await connection.fetchval("SELECT 1 FROM lease_holders WHERE holder = $1", holder.id)
                raise Fenced(removed=known is None)
            told: list[Told] = []
            if asks:
                pools = await _locked(connection, [ask.account for ask in asks])
                before = _copied(pools)
                told = [settle(pools[ask.account], holder.id, ask, now_us) for ask in asks]
                await _write(connection, holder.id, pools, before)
            await _report(connection, holder.id, spent, now_us)
        return told

    async def end(self, holder: Holder) -> None:
        """Know that a gateway that has given everything back is at its end.

        Raises:
            Unavailable: the database cannot be reached or used.
        """
        async with self._transaction() as connection:
            await connection.execute("UPDATE lease_holders SET seen_us = 0 WHERE holder = $1", holder.id)

    async def tidy(self) -> None:
        """Delete what cannot matter any more: old days and months, and rates and slots at rest.

        Raises:
            Unavailable: the database cannot be reached or used.
        """
        async with self._transaction() as connection:
            for table, moment in ((lease_slices.name, "seen_us"), (lease_accounts.name, "updated_us")):
                await connection.execute(_TIDIED.format(table=table, moment=moment), [*_EXPIRING, UNITS])

    async def slices(self, accounts: Iterable[tuple[str, str]]) -> tuple[int, dict[Account, Pool]]:
        """The database's time, and what is held of accounts, without a lock; those of whom nobody holds anything lack.

        Raises:
            Unavailable: the database cannot be reached or used.
        """
        measures, subjects = _columns(accounts)
        async with self._transaction() as connection:
            now_us = await connection.fetchval(f"SELECT {_NOW}")  # a constant
            pools = _pools(await connection.fetch(_ACCOUNTS, measures, subjects))
            for row in await connection.fetch(_SLICES, measures, subjects):
                account = Account(row["measure"], row["subject"])
                pools.setdefault(account, Pool()).slices[row["holder"]] = _slice(row)
        return now_us, pools

    async def names(self) -> dict[str, str]:
        """What gateways are called, by their ids.

        Raises:
            Unavailable: the database cannot be reached or used.
        """
        async with self._transaction() as connection:
            return {row["holder"]: row["name"] for row in await connection.fetch("SELECT * FROM lease_holders")}

    async def close(self) -> None:
        """Close the connection."""
        connection, self._connection = self._connection, None
        if connection is not None:
            connection.terminate()

    @asynccontextmanager
    async def _transaction(self) -> AsyncIterator[Any]:
        """A transaction, committed at the end; after any error the connection is given up, and what it had begun.

        Nothing is rolled back in words: that would wait for a database that perhaps does not answer.

        Raises:
            Unavailable: the database cannot be reached or used, or does not answer in time.
        """
        async with self._turn:
            try:
                async with asyncio.timeout(TRANSACTION_TIMEOUT_S):
                    if self._connection is None:
                        self._connection = await self._connect()
                    await self._connection.execute("BEGIN")
                    yield self._connection
                    await self._connection.execute("COMMIT")
            except BaseException as exc:
                await self.close()
                if isinstance(exc, (*self._failures, TimeoutError)):
                    raise Unavailable(
                        f"The database {self._shown}, by which gateways share limits, cannot be used: "
                        f"{' '.join(str(exc).split()) or type(exc).__name__}"
                    ) from exc
                raise


async def remove_holder(connection: AsyncConnection, name: str) -> None:
    """Forget a gateway that will not come back: all that it holds of money counts as spent, everything else is free.

    Args:
        connection: of a transaction that writes.
        name: the gateway's.
    """
    for statement in _REMOVAL:
        await connection.execute(text(statement), {"name": name})


_BEGIN: Final = (
    f"INSERT INTO lease_holders (holder, name, epoch, seen_us) VALUES ($1, $2, 1, {_NOW}) "  # noqa: S608
    "ON CONFLICT (holder) DO UPDATE SET name = EXCLUDED.name, epoch = lease_holders.epoch + 1, "
    "seen_us = EXCLUDED.seen_us RETURNING epoch"
)
_ENTER: Final = f"UPDATE lease_holders SET seen_us = {_NOW} WHERE holder = $1 AND epoch = $2 RETURNING seen_us"  # noqa: S608
_MISSING: Final = (
    "INSERT INTO lease_accounts (measure, subject, most, used, updated_us) "
    "SELECT measure, subject, 0, 0, 0 FROM unnest($1::text[], $2::text[]) AS wanted (measure, subject) "
    "ORDER BY measure, subject ON CONFLICT DO NOTHING"
)
_WANTED: Final = "JOIN unnest($1::text[], $2::text[]) AS wanted (measure, subject) USING (measure, subject)"
_ACCOUNTS: Final = f"SELECT measure, subject, most, used, updated_us, former FROM lease_accounts {_WANTED}"  # noqa: S608
_LOCKED: Final = f"{_ACCOUNTS} ORDER BY measure, subject FOR UPDATE OF lease_accounts"
_SLICES: Final = (
    "SELECT measure, subject, holder, amount, lease_slices.used, spent, seen_us, short_us, oldest_us, taken "  # noqa: S608
    f"FROM lease_slices {_WANTED}"
)
_UPDATED: Final = (
    "UPDATE lease_accounts SET most = new.most, used = new.used, updated_us = new.updated_us, former = new.former FROM "
    "unnest($1::text[], $2::text[], $3::numeric[], $4::numeric[], $5::bigint[], $6::text[]) "
    "AS new (measure, subject, most, used, updated_us, former) "
    "WHERE lease_accounts.measure = new.measure AND lease_accounts.subject = new.subject"
)
_WRITTEN: Final = (
    "INSERT INTO lease_slices (measure, subject, holder, amount, used, spent, seen_us, short_us, oldest_us, taken) "
    "SELECT * FROM unnest($1::text[], $2::text[], $3::text[], $4::numeric[], $5::numeric[], $6::numeric[], "
    "$7::bigint[], $8::bigint[], $9::bigint[], $10::text[]) ON CONFLICT (measure, subject, holder) DO UPDATE SET "
    "amount = EXCLUDED.amount, used = EXCLUDED.used, spent = EXCLUDED.spent, seen_us = EXCLUDED.seen_us, "
    "short_us = EXCLUDED.short_us, oldest_us = EXCLUDED.oldest_us, taken = EXCLUDED.taken"
)
_DELETED: Final = (
    "DELETE FROM lease_slices USING unnest($1::text[], $2::text[], $3::text[]) AS gone (measure, subject, holder) "
    "WHERE lease_slices.measure = gone.measure AND lease_slices.subject = gone.subject "
    "AND lease_slices.holder = gone.holder"
)
_REPORTED: Final = (
    "INSERT INTO lease_slices (measure, subject, holder, amount, used, spent, seen_us, short_us) "
    "SELECT measure, subject, $3, used, used, spent, $6, 0 FROM unnest($1::text[], $2::text[], $4::numeric[], "
    "$5::numeric[]) AS said (measure, subject, used, spent) ORDER BY measure, subject "
    "ON CONFLICT (measure, subject, holder) DO UPDATE SET amount = EXCLUDED.amount, used = EXCLUDED.used,"
    " spent = greatest(lease_slices.spent, EXCLUDED.spent), seen_us = EXCLUDED.seen_us"
)
_SET_MONEY: Final = (
    "INSERT INTO lease_slices (measure, subject, holder, amount, used, spent, seen_us, short_us) "
    "SELECT measure, subject, $3, micro, micro, micro, 0, 0 FROM unnest($1::text[], $2::text[], $4::numeric[]) "
    "AS said (measure, subject, micro) ORDER BY measure, subject ON CONFLICT (measure, subject, holder) "
    "DO UPDATE SET amount = EXCLUDED.amount, used = EXCLUDED.used, spent = EXCLUDED.spent, short_us = 0"
)
_TIDIED: Final = (
    f"DELETE FROM {{table}} WHERE (measure = ANY($1) AND {{moment}} < {_NOW} - 3600000000) "  # noqa: S608
    "OR (measure LIKE '____-__' AND measure < to_char(now() - interval '4 months', 'YYYY-MM')) "
    "OR (measure LIKE '____-__-__' AND measure < to_char(now() - interval '4 days', 'YYYY-MM-DD'))"
)
_REMOVED_ONES: Final = "holder IN (SELECT holder FROM lease_holders WHERE name = :name)"
_REMOVAL: Final = (
    "SELECT holder FROM lease_holders WHERE name = :name FOR UPDATE",  # what it has under way itself is done first
    f"DELETE FROM lease_slices WHERE measure IN ('requests', 'tokens', 'concurrent') AND {_REMOVED_ONES}",  # noqa: S608
    f"UPDATE lease_slices SET used = amount, spent = amount WHERE measure <> 'units' AND {_REMOVED_ONES}",  # noqa: S608
    "DELETE FROM lease_holders WHERE name = :name",
)


async def _locked(connection: Any, accounts: Sequence[Account]) -> dict[Account, Pool]:
    """Accounts as they are, locked until the transaction ends; those that are new are begun."""
    measures, subjects = _columns((account.measure, account.subject) for account in accounts)
    found = _pools(await connection.fetch(_LOCKED, measures, subjects))
    if len(found) < len(accounts):
        await connection.execute(_MISSING, measures, subjects)
        found = _pools(await connection.fetch(_LOCKED, measures, subjects))
    for row in await connection.fetch(_SLICES, measures, subjects):
        found[Account(row["measure"], row["subject"])].slices[row["holder"]] = _slice(row)
    return found


async def _bury_units(connection: Any, holder: str, bury: Bury) -> None:
    """Have a gateway hold nothing of any units."""
    now_us = await connection.fetchval(f"SELECT {_NOW}")  # a constant
    wanted = "SELECT subject FROM lease_slices WHERE holder = $1 AND measure = $2 ORDER BY subject"
    accounts = [Account(UNITS, row["subject"]) for row in await connection.fetch(wanted, holder, UNITS)]
    if accounts:
        pools = await _locked(connection, accounts)
        before = _copied(pools)
        for pool in pools.values():
            bury(pool, holder, now_us)
        await _write(connection, holder, pools, before)


def _copied(pools: Mapping[Account, Pool]) -> dict[Account, dict[str, Slice]]:
    """The slices of accounts as they are now."""
    return {account: {name: replace(each) for name, each in pool.slices.items()} for account, pool in pools.items()}


async def _write(
    connection: Any, holder: str, pools: Mapping[Account, Pool], before: Mapping[Account, Mapping[str, Slice]]
) -> None:
    """Write accounts after they were settled for a gateway."""
    gone = [
        (account.measure, account.subject, name)
        for account, pool in pools.items()
        for name in before[account] - pool.slices.keys()
    ]
    if gone:
        await connection.execute(_DELETED, *map(list, zip(*gone, strict=True)))
    kept = [
        (account, name, pool.slices[name])
        for account, pool in pools.items()
        for name in pool.slices
        if name == holder or pool.slices[name] != before[account].get(name)  # of units, others' may have changed too
    ]
    measures, subjects = _columns((account.measure, account.subject) for account, _, _ in kept)
    await connection.execute(
        _WRITTEN,
        measures,
        subjects,
        [name for _, name, _ in kept],
        *([getattr(each, name) for _, _, each in kept] for name in _SLICE),
        [_json(each.taken) for _, _, each in kept],
    )
    measures, subjects = _columns((account.measure, account.subject) for account in pools)
    columns = ([getattr(pool, name) for pool in pools.values()] for name in ("limit", "used", "updated_us"))
    await connection.execute(_UPDATED, measures, subjects, *columns, [_json(pool.former) for pool in pools.values()])


async def _report(connection: Any, holder: str, spent: Spent, now_us: int) -> None:
    """Write down what a gateway has spent where it holds no slice."""
    if spent:
        measures, subjects = _columns(spent)
        used, settled = [micro for micro, _ in spent.values()], [micro for _, micro in spent.values()]
        await connection.execute(_REPORTED, measures, subjects, holder, used, settled, now_us)


async def _set_money(connection: Any, holder: str, spent: Spent) -> None:
    """Have a gateway hold of budgets exactly what it has spent."""
    if spent:
        measures, subjects = _columns(spent)
        await connection.execute(_SET_MONEY, measures, subjects, holder, [micro for micro, _ in spent.values()])


def _columns(names: Iterable[tuple[str, str]]) -> tuple[list[str], list[str]]:
    listed = list(names)
    return [measure for measure, _ in listed], [subject for _, subject in listed]


def _pools(rows: Iterable[Any]) -> dict[Account, Pool]:
    return {
        Account(row["measure"], row["subject"]): Pool(
            row["most"], row["used"], row["updated_us"], former=_amounts(row["former"])
        )
        for row in rows
    }


def _slice(row: Any) -> Slice:
    return Slice(**{name: row[name] for name in _SLICE}, taken=_amounts(row["taken"]))


def _json(amounts: Taken) -> str:
    return orjson.dumps(amounts).decode() if amounts else ""


def _amounts(text: str) -> Taken:
    return tuple((at_us, amount) for at_us, amount in orjson.loads(text or "[]"))
