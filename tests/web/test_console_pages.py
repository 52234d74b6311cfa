"""The review of the console's first half, with data in its pages."""

from pathlib import Path

import pytest

from tests.service import Service
from tests.web.browser import make_person, open_browser
from tests.web.console import CONFIG, OWNER, fill
from tests.web.pages_console import sights
from tests.web.review import review

pytestmark = pytest.mark.slow


def test_every_page_stands_the_review(tmp_path: Path, full_size: bool) -> None:
    """Axe finds nothing on any page, and nothing sticks out, in light and dark, on a desk and on a phone."""
    with Service(tmp_path / "home", CONFIG) as service, open_browser() as pages:
        make_person(service, OWNER, "owner", "Olga Rivera")
        found = fill(service, tmp_path)
        review(pages, service, OWNER, sights(found["receipt"], found["job"]), every_look=full_size)
