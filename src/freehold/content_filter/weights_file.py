"""The file that weights of the classifier are kept in: read without NumPy, refused where a byte is wrong.

Eight bytes of magic, the length of the header (32 bits, little-endian), the header (JSON), the tables that it names
one after the other, and at the end the SHA-256 of everything before. The digest is the weights' version.
"""

import hashlib
import struct
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import orjson

from freehold.errors import ConfigError

MAGIC = b"FHCFW\x00\x00\x01"
_DIGEST_BYTES = 32


@dataclass(frozen=True, slots=True)
class WeightsFile:
    """Weights as they are kept.

    Args:
        header: what they are of, and how they were made; its `tables` are the lengths of the tables by name.
        tables: the numbers, each table in the form that its reader knows.
        sha256: of all of it, in hex.
    """

    header: Mapping[str, Any]
    tables: Mapping[str, bytes]
    sha256: str

    @property
    def version(self) -> str:
        """What receipts name: the beginning of the digest."""
        return self.sha256[:12]


def write_weights(path: Path, header: Mapping[str, Any], tables: Mapping[str, bytes]) -> str:
    """Write a file and return its digest in hex."""
    lengths = {name: len(table) for name, table in tables.items()}
    encoded = orjson.dumps({**header, "tables": lengths}, option=orjson.OPT_SORT_KEYS)
    ordered = b"".join(tables[name] for name in sorted(tables))
    content = MAGIC + struct.pack("<I", len(encoded)) + encoded + ordered
    digest = hashlib.sha256(content)
    path.write_bytes(content + digest.digest())
    return digest.hexdigest()


def read_weights(path: Path, kind: str) -> WeightsFile:
    """Read a file.

    Args:
        path: the file.
        kind: what its header must say that it is of.

    Raises:
        ConfigError: it cannot be read, is none, is damaged, or is of another kind.
    """
    try:
        content = path.read_bytes()
    except OSError as exc:
        raise ConfigError(f"The content filter's weights {path} cannot be read: {exc.strerror}.") from exc
    if not content.startswith(MAGIC) or len(content) < len(MAGIC) + 4 + _DIGEST_BYTES:
        raise ConfigError(f"{path} has no weights of the content filter; 'freehold train content-filter' makes them.")
    body, digest = content[:-_DIGEST_BYTES], content[-_DIGEST_BYTES:]
    sha256 = hashlib.sha256(body)
    if sha256.digest() != digest:
        raise ConfigError(f"{path} is damaged: its digest does not agree with its content. Make or copy it again.")
    (length,) = struct.unpack_from("<I", body, len(MAGIC))
    start = len(MAGIC) + 4 + length
    header = orjson.loads(body[len(MAGIC) + 4 : start])
    if header.get("kind") != kind:
        raise ConfigError(f"{path} has weights of kind '{header.get('kind')}'; wanted are those of kind '{kind}'.")
    tables: dict[str, bytes] = {}
    for name in sorted(header["tables"]):
        tables[name] = body[start : start + header["tables"][name]]
        start += header["tables"][name]
    return WeightsFile(header, tables, sha256.hexdigest())
