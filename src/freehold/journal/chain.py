"""The chain: each line holds the hash of the one before, and signed checkpoints hold the lines between them."""

from hashlib import sha256

from freehold.journal.merkle import Tree, leaf_hash
from freehold.journal.records import NOTHING, Kind, Plain, canonical
from freehold.journal.signer import Signer


class Chain:
    """Where the chain stands. A copy costs little, so that a batch that cannot be written leaves no trace.

    Args:
        signer: signs the checkpoints.
        writer: the name that they bear.
    """

    __slots__ = ("_signer", "_tree", "_writer", "head", "seq")

    def __init__(self, signer: Signer, writer: str) -> None:
        self._signer = signer
        self._writer = writer
        self._tree = Tree()
        self.seq = 0
        """The number of the last record."""
        self.head = NOTHING
        """SHA-256 of its line, in hex."""

    @property
    def uncovered(self) -> int:
        """How many records no checkpoint covers yet."""
        return self._tree.size

    def add(self, at: str, kind: Kind, body: bytes) -> bytes:
        """The line of a new record, without its newline.

        Args:
            at: when, as `utc` gives it.
            kind: anything but a checkpoint.
            body: in canonical form.
        """
        line = self._line(at, kind, body)
        self._tree.add(leaf_hash(line))
        return line

    def checkpoint(self, at: str) -> bytes:
        """The line of a checkpoint over all records that none covers; there must be some."""
        body = {**self.covering(), "at": at}
        signature = self._signer.sign(checkpoint_text(body)).hex()
        line = self._line(at, Kind.CHECKPOINT, canonical({**body, "signature": signature}))
        self._tree = Tree()
        return line

    def covering(self) -> Plain:
        """What a checkpoint says that stands here, without its time and signature."""
        assert self._tree.size, "there is never a checkpoint that covers nothing"
        return {
            "writer": self._writer,
            "first": self.seq - self._tree.size + 1,
            "last": self.seq,
            "head": self.head,
            "root": self._tree.root().hex(),
        }

    def begin(self, seq: int, head: str) -> None:
        """Stand behind a record of which no more is known than its number and its line's hash."""
        self.seq, self.head, self._tree = seq, head, Tree()

    def follow(self, line: bytes, *, checkpoint: bool) -> None:
        """Stand behind a line that is there already."""
        self.seq += 1
        self.head = sha256(line).hexdigest()
        if checkpoint:
            self._tree = Tree()
        else:
            self._tree.add(leaf_hash(line))

    def copy(self) -> "Chain":
        """Another chain that stands where this one does."""
        other = Chain(self._signer, self._writer)
        other.seq, other.head, other._tree = self.seq, self.head, self._tree.copy()
        return other

    def _line(self, at: str, kind: Kind, body: bytes) -> bytes:
        self.seq += 1
        line = b'{"at":"%b","body":%b,"kind":"%b","prev":"%b","seq":%d}' % (
            at.encode(),
            body,
            kind.encode(),
            self.head.encode(),
            self.seq,
        )
        self.head = sha256(line).hexdigest()
        return line


def checkpoint_text(body: Plain) -> bytes:
    """What the signature of a checkpoint is over."""
    said = "".join(f"{body[name]}\n" for name in ("writer", "first", "last", "head", "root", "at"))
    return f"freehold checkpoint v1\n{said}".encode()
