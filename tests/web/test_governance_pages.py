"""The pages of access and record are as they should be: axe-core finds nothing, nothing sticks out."""

import pytest

from tests.web.browser import open_browser
from tests.web.governed import OWNER, governed
from tests.web.pages_governance import sights
from tests.web.review import review

pytestmark = pytest.mark.slow


def test_the_pages_are_as_they_should_be(tmp_path_factory: pytest.TempPathFactory, full_size: bool) -> None:
    """All sights pass the review."""
    home = tmp_path_factory.mktemp("governed") / "home"
    with governed(home) as service, open_browser() as pages:
        review(pages, service, OWNER, sights(), every_look=full_size)
