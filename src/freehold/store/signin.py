"""The tables behind sign-in: passwords, identities at providers, sign-ins under way and links to set a password."""

from dataclasses import dataclass

from sqlalchemy import delete, select
from sqlalchemy.dialects.postgresql import insert

from freehold.store.database import Database
from freehold.store.tables import identities, members, password_links, passwords, signins


@dataclass(frozen=True, slots=True)
class SigninRow:
    """A sign-in under way. The digests are SHA-256 of its state and of its browser's cookie."""

    digest: bytes
    browser_digest: bytes
    provider: str
    return_to: str
    expires_at: int


@dataclass(frozen=True, slots=True)
class IdentityRow:
    """Who somebody is here whom a provider knows by `subject`."""

    issuer: str
    subject: str
    member_id: str
    stated_at: int


async def password_of(database: Database, member_id: str) -> str | None:
    """The hash of a member's password; None without one."""
    async with database.read() as connection:
        found: str | None = (
            await connection.execute(select(passwords.c.hash).where(passwords.c.member_id == member_id))
        ).scalar()
        return found


async def put_password(database: Database, member_id: str, hashed: str, at: int) -> None:
    """Set a member's password, or replace it; links to set one are void from now on."""
    statement = insert(passwords).values(member_id=member_id, hash=hashed, changed_at=at)
    async with database.write() as connection:
        await connection.execute(
            statement.on_conflict_do_update(index_elements=["member_id"], set_={"hash": hashed, "changed_at": at})
        )
        await connection.execute(delete(password_links).where(password_links.c.member_id == member_id))


async def forget_strangers(database: Database) -> None:
    """Remove what is kept here of members who are no more."""
    async with database.write() as connection:
        for table in (passwords, identities, password_links):
            await connection.execute(delete(table).where(table.c.member_id.not_in(select(members.c.id))))


async def identity_of(database: Database, issuer: str, subject: str) -> IdentityRow | None:
    """Who somebody is here; None for an unknown one."""
    async with database.read() as connection:
        statement = select(identities).where(identities.c.issuer == issuer, identities.c.subject == subject)
        row = (await connection.execute(statement)).mappings().first()
        return None if row is None else IdentityRow(**row)


async def identities_of(database: Database, member_id: str) -> list[IdentityRow]:
    """Everything that providers know a member as."""
    async with database.read() as connection:
        rows = await connection.execute(select(identities).where(identities.c.member_id == member_id))
        return [IdentityRow(**row) for row in rows.mappings()]


async def put_identity(database: Database, row: IdentityRow) -> None:
    """Note who somebody is, or that more was heard of them."""
    values = {name: getattr(row, name) for name in IdentityRow.__slots__}
    changed = {name: values[name] for name in ("member_id", "stated_at")}
    async with database.write() as connection:
        await connection.execute(
            insert(identities).values(values).on_conflict_do_update(index_elements=["issuer", "subject"], set_=changed)
        )


async def insert_signin(database: Database, row: SigninRow, *, now: int, at_most: int) -> None:
    """Add a sign-in that begins; expired ones go, and of too many the oldest."""
    async with database.write() as connection:
        await connection.execute(delete(signins).where(signins.c.expires_at <= now))
        kept = select(signins.c.digest).order_by(signins.c.expires_at.desc()).limit(at_most - 1)
        await connection.execute(delete(signins).where(signins.c.digest.not_in(kept)))
        await connection.execute(insert(signins).values({name: getattr(row, name) for name in SigninRow.__slots__}))


async def take_signin(database: Database, digest: bytes) -> SigninRow | None:
    """Remove a sign-in and return it; None if there is none, or it was taken before."""
    async with database.write() as connection:
        statement = delete(signins).where(signins.c.digest == digest).returning(*signins.c)
        row = (await connection.execute(statement)).mappings().first()
        return None if row is None else SigninRow(**row)


async def put_link(database: Database, member_id: str, digest: bytes, expires_at: int) -> None:
    """Add a link to set a password; earlier ones of the member are void."""
    async with database.write() as connection:
        await connection.execute(delete(password_links).where(password_links.c.member_id == member_id))
        await connection.execute(
            insert(password_links).values(digest=digest, member_id=member_id, expires_at=expires_at)
        )


async def member_of_link(database: Database, digest: bytes, now: int) -> str | None:
    """Whose password a link may set; None if it is none, void or expired."""
    async with database.read() as connection:
        statement = select(password_links.c.member_id).where(
            password_links.c.digest == digest, password_links.c.expires_at > now
        )
        found: str | None = (await connection.execute(statement)).scalar()
        return found


async def take_link(database: Database, digest: bytes, now: int) -> str | None:
    """As `member_of_link`, and the link is void from now on."""
    async with database.write() as connection:
        statement = (
            delete(password_links)
            .where(password_links.c.digest == digest, password_links.c.expires_at > now)
            .returning(password_links.c.member_id)
        )
        found: str | None = (await connection.execute(statement)).scalar()
        return found
