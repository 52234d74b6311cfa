"""Where an engine is reached: by a Unix socket of this machine, or on another machine over mutual TLS."""

from dataclasses import dataclass
from pathlib import Path
from typing import TypeAlias


@dataclass(frozen=True, slots=True)
class TlsAddress:
    """An engine on another machine.

    Args:
        host, port: of TCP, where the node listens for it.
        name: for which its certificate is made; no other engine has it.
        credentials: a folder on this machine that has the authority's certificate (`ca.pem`), this side's own
            (`gateway.pem`) and its private key (`gateway.key`).
    """

    host: str
    port: int
    name: str
    credentials: Path


Address: TypeAlias = Path | TlsAddress
"""The path of a Unix socket, or where on another machine."""
