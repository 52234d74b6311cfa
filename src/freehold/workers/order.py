"""What a worker is told when it is started, over its standard input."""

import pickle
import sys
from dataclasses import dataclass
from pathlib import Path

from freehold.config import Settings


@dataclass(frozen=True, slots=True)
class Order:
    """What to be and with what.

    Args:
        name: of the worker, in logs.
        home: the home folder.
        settings: the configuration, as the core has it.
        core: the socket to which requests are passed on.
        secret: which the core and its workers share.
        listener: the number of the inherited socket on which callers come.
        link: the number of the inherited end of the link.
    """

    name: str
    home: Path
    settings: Settings
    core: Path
    secret: str
    listener: int
    link: int

    def packed(self) -> bytes:
        """For `given`. The settings of a file do not all read back from what they are written as."""
        return pickle.dumps(self)


def given() -> Order:
    """The order of the process that started this one."""
    order = pickle.load(sys.stdin.buffer)  # noqa: S301  # it comes from that process alone
    assert isinstance(order, Order), "the core sends nothing else"
    return order
