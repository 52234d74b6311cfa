"""`[identity]`: what may be configured, and what stops a start."""

import asyncio
from pathlib import Path
from typing import Any

import pytest

from freehold.config import Settings, parse_settings
from freehold.errors import ConfigError
from freehold.identity.identity import open_identity
from freehold.types.signin import IdentitySettings
from tests.identity.parts import open_parts

GOOD = {"name": "corp", "issuer": "https://login.example.org", "client_id": "freehold"}


def _parse(*providers: dict[str, Any]) -> IdentitySettings:
    return parse_settings({"identity": {"provider": list(providers)}}, Settings).identity


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"issuer": "http://login.example.org"}, "must begin with https://"),
        ({"issuer": "http://login.example.org", "allow_http": True}, "must begin with https://"),
        ({"issuer": "http://127.0.0.1:9000"}, "must begin with https://"),
        ({"issuer": "https://login.example.org?x=1"}, "issuer"),
        ({"algorithms": ["HS256"]}, "algorithms"),
        ({"algorithms": ["none"]}, "algorithms"),
        ({"algorithms": []}, "algorithms"),
        ({"scopes": ["email"]}, "must contain 'openid'"),
        ({"name": "a/b"}, "name"),
        ({"users": "all"}, "users"),
        ({"map": [{"group": "a"}]}, "role: is required"),
        ({"program": [{"subject": "a", "service_account": "svc_1"}] * 2}, "two have the same subject"),
    ],
)
def test_an_unsafe_provider_is_refused(changes: dict[str, Any], message: str) -> None:
    """No provider without TLS but on this machine, no shared secret, no unsigned token; the error names the place."""
    with pytest.raises(ConfigError) as refused:
        _parse({**GOOD, **changes})
    assert refused.value.message.startswith("identity.provider[0]")
    assert message in refused.value.message


@pytest.mark.parametrize("issuer", ["http://127.0.0.1:9000", "http://localhost:9000/x", "http://[::1]:9000"])
def test_a_provider_on_this_machine_needs_no_tls_for_trials(issuer: str) -> None:
    """The loopback address will do if that is said."""
    (provider,) = _parse({**GOOD, "issuer": issuer, "allow_http": True}).provider
    assert provider.issuer == issuer


def test_providers_have_names_and_issuers_of_their_own() -> None:
    """Two of one name, or of one issuer, would be taken for each other."""
    for changes in ({"issuer": "https://other.example.org"}, {"name": "other"}):
        with pytest.raises(ConfigError, match="two have the"):
            _parse(GOOD, {**GOOD, **changes})


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"organization": "org-none"}, "identity.provider[0].organization: there is no organization 'org-none'"),
        ({"map": [{"group": "a", "role": "king"}]}, "identity.provider[0].map[0].role: "),
        ({"default_role": "king"}, "identity.provider[0].default_role: "),
        (
            {"client_secret": {"env": "FREEHOLD_TESTS_UNSET"}},
            "the environment variable FREEHOLD_TESTS_UNSET is not set",
        ),
    ],
)
def test_what_a_provider_names_must_be_there(tmp_path: Path, changes: dict[str, Any], message: str) -> None:
    """An unknown organization, role or secret stops the start instead of a person's sign-in."""

    async def scenario() -> None:
        async with open_parts(tmp_path) as parts:
            settings = _parse({**GOOD, **changes})
            async with open_identity(parts.database, parts.directory, parts.invites, settings):
                pass

    with pytest.raises(ConfigError) as refused:
        asyncio.run(scenario())
    assert refused.value.message.startswith(message)
