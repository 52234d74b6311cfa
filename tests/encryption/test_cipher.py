"""The cipher of kept content."""

from dataclasses import replace
from pathlib import Path
from typing import TypeAlias

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from freehold.encryption.cipher import associated_data
from freehold.errors import ContentUnreadable
from freehold.types.content import Tenant
from tests.encryption.homes import Place, with_place

TENANT = Tenant("org", "proj", "user")
Where: TypeAlias = tuple[Tenant, str, str]
names = st.text(max_size=12)
places = st.tuples(st.builds(Tenant, names, names, names), names, names)


@settings(suppress_health_check=[HealthCheck.too_slow], deadline=None)
@given(first=places, second=places)
def test_no_two_places_are_bound_to_the_same(first: Where, second: Where) -> None:
    """The associated data of two places are equal exactly when the places are."""
    assert (associated_data(*first) == associated_data(*second)) == (first == second)


@settings(
    max_examples=25, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow], deadline=None
)
@given(first=places, second=places, content=st.binary(max_size=200))
def test_moved_ciphertext_does_not_open(tmp_path: Path, first: Where, second: Where, content: bytes) -> None:
    """Content opens where it was sealed and nowhere else, whatever the places are."""

    async def trial(place: Place) -> None:
        sealed = await place.cipher.seal(*first, content)
        assert await place.cipher.open(*first, sealed) == content
        await place.cipher.seal(*second, b"so that there is a key")
        if first != second:
            with pytest.raises(ContentUnreadable):
                await place.cipher.open(*second, sealed)

    with_place(tmp_path, trial)


def test_each_part_of_a_place_is_bound(tmp_path: Path) -> None:
    """Another organization, project, owner, purpose or row alone is enough to make content unreadable."""

    async def trial(place: Place) -> None:
        sealed = await place.cipher.seal(TENANT, "answers", "row", b"content")
        others = [
            (replace(TENANT, organization_id="other"), "answers", "row"),
            (replace(TENANT, project_id="other"), "answers", "row"),
            (replace(TENANT, owner_id="other"), "answers", "row"),
            (TENANT, "pictures", "row"),
            (TENANT, "answers", "other"),
        ]
        for other in others:
            await place.cipher.seal(*other, b"so that there is a key")
            with pytest.raises(ContentUnreadable):
                await place.cipher.open(*other, sealed)
        assert await place.cipher.open(TENANT, "answers", "row", sealed) == b"content"

    with_place(tmp_path, trial)


def test_a_changed_byte_is_noticed(tmp_path: Path) -> None:
    """Whatever byte is changed, cut or added, the content does not open."""

    async def trial(place: Place) -> None:
        sealed = await place.cipher.seal(TENANT, "answers", "row", b"content")
        changed = [sealed[:at] + bytes([sealed[at] ^ 1]) + sealed[at + 1 :] for at in range(len(sealed))]
        for damaged in (*changed, b"", sealed[:-1], sealed + b"x", sealed[:5]):
            with pytest.raises(ContentUnreadable):
                await place.cipher.open(TENANT, "answers", "row", damaged)

    with_place(tmp_path, trial)


def test_the_same_content_never_looks_the_same(tmp_path: Path) -> None:
    """Sealed twice it differs, and no part of it stands in what is sealed."""

    async def trial(place: Place) -> None:
        sealed = [await place.cipher.seal(TENANT, "answers", "row", b"telling content") for _ in range(2)]
        assert sealed[0] != sealed[1]
        assert b"telling" not in sealed[0]

    with_place(tmp_path, trial)
