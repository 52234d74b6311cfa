"""The studio's pages: axe-core finds nothing, nothing sticks out, and pictures of them are written for review."""

from pathlib import Path

import pytest

from tests.web.browser import make_person, open_browser
from tests.web.pages_studio import empty_sights, furnish, sights
from tests.web.painting import painting_service
from tests.web.review import review

pytestmark = pytest.mark.slow


def test_the_studio_looks_right(tmp_path: Path, full_size: bool) -> None:
    """Empty and with pictures, light and dark, on a desk and on a phone, nothing is wrong with the pages."""
    with painting_service(tmp_path) as service, open_browser() as pages:
        make_person(service, "new@example.org", name="Newcomer")
        review(pages, service, "new@example.org", empty_sights(), every_look=full_size)
        make_person(service, "ann@example.org", name="Ann Painter")
        with pages.person(service, "ann@example.org") as page:
            furnish(page)
        review(pages, service, "ann@example.org", sights(), every_look=full_size)
