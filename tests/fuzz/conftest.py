"""One echo service for the attacks of this folder, and how long they go on."""

from collections.abc import Iterator

import pytest
from hypothesis import HealthCheck, settings

from tests.fuzz.attack import DOOMED_CONFIG
from tests.service import Service

_QUIET = [HealthCheck.function_scoped_fixture, HealthCheck.too_slow]
settings.register_profile("short", max_examples=150, deadline=None, suppress_health_check=_QUIET)
settings.register_profile("long", max_examples=3000, deadline=None, suppress_health_check=_QUIET)
if settings.get_current_profile_name() not in {"short", "long"}:
    settings.load_profile("short")


@pytest.fixture(scope="package")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    """An echo service with a deployment that fails, one that is slow, and an owner's and a user's key."""
    with Service(tmp_path_factory.mktemp("fuzz"), DOOMED_CONFIG) as running:
        yield running


@pytest.fixture(scope="package")
def user_key(service: Service) -> str:
    """A key with the role `user`."""
    return str(service.post("/admin/keys", {"name": "user"}).json()["key"])
