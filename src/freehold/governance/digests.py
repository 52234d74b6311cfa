"""Keyed digests: names for texts that tell nothing about them, and the same text the same name.

HMAC-SHA256 under keys that are derived from the home's pepper. Who has the pepper can test whether a text is the
one that a receipt names; without it nobody can, and when the pepper is destroyed nobody ever can again.
"""

import hmac
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from hmac import HMAC

END_USER_HEX = 24


class Digests:
    """Makes the digests of one home.

    Args:
        pepper: the home's secret.
    """

    def __init__(self, pepper: bytes) -> None:
        self._prompt = hmac.new(derived(pepper, b"freehold prompt digest"), digestmod="sha256")
        self._completion = hmac.new(derived(pepper, b"freehold completion digest"), digestmod="sha256")
        self._end_user = hmac.new(derived(pepper, b"freehold end user digest"), digestmod="sha256")
        self._same = hmac.new(derived(pepper, b"freehold same request"), digestmod="sha256")

    def prompt(self, body: bytes) -> str:
        """The digest of a request's body as it was sent, in hex."""
        return _finished(self._prompt, body)

    def completion(self) -> "HMAC":
        """A digest to be updated with the pieces of one completion, as UTF-8, in their order."""
        return self._completion.copy()

    def end_user(self, name: str) -> str:
        """The name under which receipts and limits know an end user."""
        return "eu_" + _finished(self._end_user, name.encode("utf-8", "surrogatepass"))[:END_USER_HEX]

    def fingerprint(self, route: str, body: bytes) -> bytes:
        """What is the same for two requests if they are the same."""
        digest = self._same.copy()
        digest.update(route.encode() + b"\n" + body)
        return digest.digest()


def derived(pepper: bytes, purpose: bytes) -> bytes:
    """A key of 32 bytes for one purpose."""
    return hmac.digest(pepper, purpose, "sha256")


def _finished(base: "HMAC", text: bytes) -> str:
    digest = base.copy()
    digest.update(text)
    return digest.hexdigest()
