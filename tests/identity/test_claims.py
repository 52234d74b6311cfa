"""What the claims of a verified token come to."""

from typing import Any

import pytest

from freehold.errors import Forbidden
from freehold.identity.claims import groups_of, roles_of, statement
from freehold.types.signin import ProviderSettings

CLAIMS = {"sub": "a1", "iat": 100, "exp": 200, "email": "Alice@Example.org", "email_verified": True, "name": "Alice"}


def _provider(**changes: Any) -> ProviderSettings:
    values = {"name": "corp", "issuer": "https://login.example.org", "client_id": "freehold"}
    return ProviderSettings.model_validate({**values, **changes})


@pytest.mark.parametrize(
    ("changes", "settings", "email"),
    [
        ({}, {}, "alice@example.org"),
        ({"email_verified": "true"}, {}, "alice@example.org"),
        ({"email_verified": False}, {}, None),
        ({"email_verified": None}, {}, None),
        ({"email_verified": None}, {"trust_email": True}, "alice@example.org"),
        ({"email": "no address"}, {}, None),
        ({"email": "a@b@c"}, {}, None),
        ({"email": ["alice@example.org"]}, {}, None),
        ({"upn": "bob@example.org"}, {"email_claim": "upn"}, "bob@example.org"),
    ],
)
def test_an_address_counts_only_if_the_provider_vouches_for_it(
    changes: dict[str, Any], settings: dict[str, Any], email: str | None
) -> None:
    """An unverified address is none, unless the provider is trusted without that; it is kept in lower case."""
    assert statement({**CLAIMS, **changes}, _provider(**settings)).email == email


@pytest.mark.parametrize(
    ("claims", "name", "groups"),
    [
        ({"groups": ["a", "b"]}, "groups", {"a", "b"}),
        ({"groups": "a"}, "groups", {"a"}),
        ({"groups": ["a", 7, None]}, "groups", {"a"}),
        ({"groups": {"a": 1}}, "groups", set()),
        ({}, "groups", set()),
        ({"realm_access": {"roles": ["a"]}}, "realm_access.roles", {"a"}),
        ({"realm_access": "a"}, "realm_access.roles", set()),
        ({"https://example.org/groups": ["a"]}, "https://example.org/groups", {"a"}),
    ],
)
def test_groups_are_read_from_their_claim(claims: dict[str, Any], name: str, groups: set[str]) -> None:
    """A claim's name may be a path into objects; what is no text is no group, and a missing claim means none."""
    assert groups_of(claims, _provider(groups_claim=name)) == groups


def test_groups_that_the_provider_left_out_are_not_taken_for_none() -> None:
    """Where there were too many groups for the token, nobody is let in with fewer."""
    with pytest.raises(Forbidden, match="too many"):
        statement({**CLAIMS, "_claim_names": {"groups": "src1"}}, _provider())


def test_groups_give_roles_in_the_organization_and_in_projects() -> None:
    """Each mapping gives its role where it says, and the default role is everybody's."""
    mappings = [
        {"group": "ml", "role": "deployer", "project": "proj-a"},
        {"group": "ml", "role": "user"},
        {"group": "audit", "role": "auditor"},
    ]
    provider = _provider(map=mappings, default_role="reader")
    assert roles_of(frozenset({"ml", "other"}), provider) == {"proj-a": {"deployer"}, "": {"user", "reader"}}
    assert roles_of(frozenset(), provider) == {"": {"reader"}}


def test_a_person_without_a_name_is_called_by_the_address() -> None:
    """A name is the claim's, else the user name, else the address, else the subject."""
    assert statement(CLAIMS, _provider()).name == "Alice"
    assert statement({**CLAIMS, "name": " ", "preferred_username": "al"}, _provider()).name == "alice@example.org"
    assert statement({**CLAIMS, "name": None, "email": None}, _provider()).name == "a1"
