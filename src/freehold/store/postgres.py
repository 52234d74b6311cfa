"""PostgreSQL as a store: connections by URL, and column types that mean there what they mean in SQLite.

Freehold's tables are declared once. In SQLite `String(64)` bounds nothing and compares bytes, and an integer has 64
bits; on PostgreSQL these are `TEXT COLLATE "C"` and `BIGINT`: the same rows fit, and pages are in the same order.
"""

from collections.abc import Mapping
from decimal import Decimal
from typing import Any, Final
from urllib.parse import unquote, urlsplit

from sqlalchemy.dialects.postgresql.base import PGTypeCompiler
from sqlalchemy.exc import DBAPIError, SQLAlchemyError
from sqlalchemy.ext.asyncio import AsyncEngine, create_async_engine

from freehold.errors import ConfigError

CONNECT_TIMEOUT_S: Final = 5.0
COMMAND_TIMEOUT_S: Final = 60.0
POOL_SIZE: Final = 8
_SERVER_SETTINGS: Final[Mapping[str, str]] = {
    "application_name": "freehold",
    "idle_in_transaction_session_timeout": "10000",
    "tcp_keepalives_idle": "5",
    "tcp_keepalives_interval": "2",
    "tcp_keepalives_count": "3",
}
"""A gateway that hangs, or whose machine is gone, holds no lock for longer than about ten seconds."""


class _Types(PGTypeCompiler):
    """Column types as SQLite means them."""

    def visit_VARCHAR(self, type_: Any, **kw: Any) -> str:  # noqa: ARG002, N802  # SQLAlchemy's names
        """Text without a bound that compares bytes; in an expression, only the type."""
        return 'TEXT COLLATE "C"' if "type_expression" in kw else "TEXT"

    def visit_INTEGER(self, type_: Any, **kw: Any) -> str:  # noqa: ARG002, N802
        """64 bits."""
        return "BIGINT"


def parts(url: str, param: str) -> tuple[str, str]:
    """The host and the database's name in a URL.

    Args:
        url: `postgresql://user:password@host:port/name`, with the parameters that libpq knows.
        param: the setting that it comes from.

    Raises:
        ConfigError: it is not a URL of PostgreSQL. The message has nothing of it, since a password may be in it.
    """
    try:
        split = urlsplit(url)
        port = split.port
    except ValueError:
        raise _wrong("is not a URL; special characters in the password must be percent-encoded", param) from None
    if split.scheme not in {"postgresql", "postgres"}:
        raise _wrong("must begin with postgresql://", param)
    name = unquote(split.path.lstrip("/"))
    if not name or "/" in name:
        raise _wrong("must name a database, as in postgresql://user:password@host/name", param)
    host = split.hostname or "the local socket"
    return f"{host}:{port}" if port else host, name


def shown(url: str, param: str) -> str:
    """How a database is called in messages; there is no credential in it. Raises as `parts`."""
    host, name = parts(url, param)
    return f"{name} at {host}"


def driver(param: str) -> Any:
    """The library `asyncpg`.

    Raises:
        ConfigError: it is not installed.
    """
    try:
        import asyncpg  # noqa: PLC0415  # an extra that only PostgreSQL needs
    except ImportError as exc:
        raise ConfigError(
            f"{param}: PostgreSQL needs a driver; install it with: pip install 'freehold[postgres]'", param=param
        ) from exc
    return asyncpg


def failures(param: str) -> tuple[type[Exception], ...]:
    """What connections raise when something is wrong with the database or the way to it."""
    asyncpg = driver(param)
    return (
        SQLAlchemyError,
        OSError,
        TimeoutError,
        asyncpg.PostgresError,
        asyncpg.InterfaceError,
    )


async def connect(url: str, param: str, *, read_only: bool = False) -> Any:
    """A connection of asyncpg's, which reads the URL as libpq would: `sslmode`, `host` of a socket mean the same.

    Args:
        url: as in `parts`.
        param: the setting that it comes from.
        read_only: whether statements that write are refused.
    """
    settings = {**_SERVER_SETTINGS, "default_transaction_read_only": "on" if read_only else "off"}
    found = await driver(param).connect(
        url, timeout=CONNECT_TIMEOUT_S, command_timeout=COMMAND_TIMEOUT_S, server_settings=settings
    )
    try:
        await found.set_type_codec("numeric", schema="pg_catalog", encoder=str, decoder=_number, format="text")
    except BaseException:
        found.terminate()
        raise
    return found


def engine(url: str, param: str, *, read_only: bool = False) -> AsyncEngine:
    """A pool of connections. Nothing is opened yet.

    Raises:
        ConfigError: the URL is not one of PostgreSQL, or its driver is not installed.
    """
    parts(url, param)
    driver(param)

    async def made() -> Any:
        return await connect(url, param, read_only=read_only)

    found = create_async_engine(
        "postgresql+asyncpg://",
        async_creator=made,
        pool_size=POOL_SIZE,
        max_overflow=POOL_SIZE,
        pool_timeout=COMMAND_TIMEOUT_S,
        pool_pre_ping=True,
    )
    dialect = found.sync_engine.dialect
    dialect.type_compiler_instance = _Types(dialect)
    return found


def reason(exc: Exception) -> str:
    """Why something failed, in one line, without statements and values."""
    cause: object = exc.orig if isinstance(exc, DBAPIError) else exc
    return " ".join(str(cause).split()) or type(cause).__name__


def _number(text: str) -> int | Decimal:
    """What a sum of integers comes to, as SQLite gives it."""
    found = Decimal(text)
    return int(found) if found == found.to_integral_value() else found


def _wrong(what: str, param: str) -> ConfigError:
    return ConfigError(f"{param}: the URL {what}", param=param)
