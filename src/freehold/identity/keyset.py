"""A provider's public keys (RFC 7517): fetched when needed, kept for a while, and fetched again for an unknown one."""

import asyncio
import time
from collections.abc import Awaitable, Callable, Sequence
from typing import Any

import structlog
from joserfc import jwk
from joserfc.errors import JoseError
from joserfc.jwk import ECKey, Key, RSAKey

from freehold.errors import IdentityProviderUnavailable
from freehold.identity.tokens import Header, invalid

log = structlog.get_logger(__name__)

FRESH_S = 15 * 60.0
"""Keys of this age are fetched again before they are used: how long a withdrawn key goes on being believed."""
USABLE_S = 6 * 3600.0
"""For how long known keys stay good when the provider cannot be reached."""
PAUSE_S = 30.0
"""The least time between two fetches that tokens with unknown keys cause."""
RETRY_S = 5.0
"""The least time between two fetches when the last one failed."""
MAX_KEYS = 100
MIN_RSA_BITS = 2048

_KEY_TYPES: dict[str, type[Key]] = {"RS": RSAKey, "PS": RSAKey, "ES": ECKey}
_CURVES = {"ES256": "P-256", "ES384": "P-384", "ES512": "P-521"}


class KeySource:
    """The keys of one provider. There is never more than one fetch at a time.

    Args:
        fetch: gets the key set from the provider.
        algorithms: for which keys are wanted.
        clock: monotonic seconds.
    """

    def __init__(
        self,
        fetch: Callable[[], Awaitable[dict[str, Any]]],
        algorithms: Sequence[str],
        *,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._fetch = fetch
        self._algorithms = algorithms
        self._clock = clock
        self._keys: list[Key] = []
        self._fetched_at: float | None = None
        self._tried_at: float | None = None
        self._failed = False
        self._fetching = asyncio.Lock()

    async def key(self, header: Header) -> Key:
        """The key that a token names; of a set with one fitting key also that of a token that names none.

        Raises:
            Unauthenticated: the provider has no such key.
            IdentityProviderUnavailable: the provider cannot be asked.
        """
        if self._age() >= FRESH_S:
            await self._refresh(FRESH_S)
        found = self._find(header)
        if found is None and self._may_ask():
            await self._refresh(PAUSE_S)
            found = self._find(header)
        if found is not None:
            return found
        if self._failed:
            raise IdentityProviderUnavailable(
                "The identity provider's keys cannot be fetched now.", retry_after_s=RETRY_S
            )
        raise invalid("the provider has no key of that name")

    def _find(self, header: Header) -> Key | None:
        fitting = [key for key in self._keys if _fits(key, header.algorithm)]
        if header.kid is None:
            return fitting[0] if len(fitting) == 1 else None
        return next((key for key in fitting if key.get("kid") == header.kid), None)

    def _age(self) -> float:
        """Seconds since the keys were fetched; without any, endless."""
        return float("inf") if self._fetched_at is None else self._clock() - self._fetched_at

    def _may_ask(self) -> bool:
        """Whether enough time has passed since the last fetch was tried."""
        pause = RETRY_S if self._failed else PAUSE_S
        return self._tried_at is None or self._clock() - self._tried_at >= pause

    async def _refresh(self, older_than_s: float) -> None:
        """Fetch the keys, unless somebody else did while this one waited.

        Raises:
            IdentityProviderUnavailable: they cannot be fetched, and there are none that may still be used.
        """
        async with self._fetching:
            if self._age() < older_than_s:
                return
            if self._failed and not self._may_ask():
                self._check_usable()
                return
            self._tried_at = self._clock()
            try:
                self._keys = usable_keys(await self._fetch(), self._algorithms)
            except IdentityProviderUnavailable as exc:
                self._failed = True
                log.warning("keys_not_fetched", reason=exc.message)
                self._check_usable()
                return
            self._failed = False
            self._fetched_at = self._clock()

    def _check_usable(self) -> None:
        if self._age() >= USABLE_S:
            self._keys = []
            raise IdentityProviderUnavailable(
                "The identity provider's keys cannot be fetched now.", retry_after_s=RETRY_S
            )


def usable_keys(key_set: dict[str, Any], algorithms: Sequence[str]) -> list[Key]:
    """The keys of a set with which a token may be verified: public, for signing, strong enough; others are left out.

    Raises:
        IdentityProviderUnavailable: it is no key set.
    """
    entries = key_set.get("keys")
    if not isinstance(entries, list):
        raise IdentityProviderUnavailable("The identity provider's key set is not one.")
    found: list[Key] = []
    for entry in entries[:MAX_KEYS]:
        if not isinstance(entry, dict) or entry.get("use", "sig") != "sig" or entry.get("kty") not in {"RSA", "EC"}:
            continue
        if entry["kty"] == "RSA" and len(str(entry.get("n"))) * 6 < MIN_RSA_BITS:
            continue  # a character of base64 has six bits
        try:
            key = jwk.import_key(entry)
        except (JoseError, ValueError, TypeError, KeyError):
            continue  # of a kind that is not known here
        if any(_fits(key, algorithm) for algorithm in algorithms):
            found.append(key)
    return found


def _fits(key: Key, algorithm: str) -> bool:
    """Whether a key is one for the algorithm."""
    if not isinstance(key, _KEY_TYPES[algorithm[:2]]) or key.get("alg", algorithm) != algorithm:
        return False
    return isinstance(key, RSAKey) or key.get("crv") == _CURVES[algorithm]
