"""Merkle trees over lines, as in RFC 6962, section 2.1. Hashes are SHA-256, 32 bytes."""

from collections.abc import Sequence
from hashlib import sha256


def leaf_hash(line: bytes) -> bytes:
    """The leaf of a line (without its newline)."""
    return sha256(b"\x00" + line).digest()


def node_hash(left: bytes, right: bytes) -> bytes:
    """The node above two others."""
    return sha256(b"\x01" + left + right).digest()


class Tree:
    """A tree that grows: it holds the roots of its complete subtrees, largest first, and no leaf.

    A subtree of 2^k leaves stands in it for each bit k of `size` that is set, so adding n leaves costs n node hashes,
    and a copy is as long as `size` has bits.
    """

    __slots__ = ("_roots", "size")

    def __init__(self) -> None:
        self.size = 0
        self._roots: list[bytes] = []

    def add(self, leaf: bytes) -> None:
        """Put a leaf at the end."""
        merges = self.size
        roots = self._roots
        while merges & 1:
            leaf = node_hash(roots.pop(), leaf)
            merges >>= 1
        roots.append(leaf)
        self.size += 1

    def root(self) -> bytes:
        """The root; of no leaves, the hash of nothing."""
        if not self._roots:
            return sha256().digest()
        *rest, root = self._roots
        for left in reversed(rest):
            root = node_hash(left, root)
        return root

    def copy(self) -> "Tree":
        """Another tree that stands where this one does."""
        other = Tree()
        other.size = self.size
        other._roots = self._roots.copy()
        return other


def root(leaves: Sequence[bytes]) -> bytes:
    """The root over leaf hashes; of none, the hash of nothing."""
    tree = Tree()
    for leaf in leaves:
        tree.add(leaf)
    return tree.root()


def path(leaves: Sequence[bytes], index: int) -> list[bytes]:
    """The hashes beside the way from a leaf to the root, from the leaf upwards (RFC 6962, section 2.1.1).

    Raises:
        IndexError: there is no such leaf.
    """
    if not 0 <= index < len(leaves):
        raise IndexError(f"leaf {index} of {len(leaves)}")
    if len(leaves) == 1:
        return []
    split = 1 << (len(leaves) - 1).bit_length() - 1
    left, right = leaves[:split], leaves[split:]
    if index < split:
        return [*path(left, index), root(right)]
    return [*path(right, index - split), root(left)]


def root_from_path(leaf: bytes, index: int, size: int, siblings: Sequence[bytes]) -> bytes:
    """The root that a path leads to (RFC 9162, section 2.1.3.2).

    Args:
        leaf: the leaf's hash.
        index: its place, from 0.
        size: the number of leaves in the tree.
        siblings: the path.

    Raises:
        ValueError: the path is not as long as the place and the size demand.
    """
    if not 0 <= index < size:
        raise ValueError(f"a tree of {size} leaves has no leaf {index}")
    here, last, found = index, size - 1, leaf
    for sibling in siblings:
        if last == 0:
            raise ValueError("the path is too long")
        if here & 1 or here == last:
            found = node_hash(sibling, found)
            while here and not here & 1:
                here >>= 1
                last >>= 1
        else:
            found = node_hash(found, sibling)
        here >>= 1
        last >>= 1
    if last:
        raise ValueError("the path is too short")
    return found
