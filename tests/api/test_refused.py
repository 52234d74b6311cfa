"""Operations of OpenAI's API that are refused with their reason."""

from collections.abc import Iterator

import pytest

from freehold.api.refused import REFUSED, why_refused
from tests.service import Service


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Service]:
    """A server."""
    with Service(tmp_path_factory.mktemp("home")) as service:
        yield service


def test_only_whole_names_are_refused() -> None:
    """A path that only begins alike is not, and neither is one that is served."""
    for path in ("/v1/audiobooks", "/v1/responses", "/v1/responses/compact_1", "/audio/speech", "/v1"):
        assert why_refused(path) is None


@pytest.mark.slow
@pytest.mark.parametrize(("path", "why"), REFUSED)
def test_the_reason_is_told(service: Service, path: str, why: str) -> None:
    """With whichever method, and below it, the answer is a 404 that says why, in both dialects."""
    asked = [("POST", ""), ("GET", "/x"), ("DELETE", "/x/y")]
    for method, below in asked[:1] if path.startswith("responses/") else asked:
        told = service.request(method, f"/v1/{path}{below}", key=service.key)
        assert told.status == 404
        assert told.json()["error"]["code"] == "operation_not_available"
        assert why in told.json()["error"]["message"]
        azure = service.request(method, f"/openai/v1/{path}{below}", key=service.key)
        assert azure.status == 404
        assert why in azure.json()["error"]["message"]
