"""The chat's pages look as they should: no violation, nothing sticks out, and pictures are written for review."""

from pathlib import Path

import pytest

from tests.web.browser import make_person
from tests.web.chatting import chat_server
from tests.web.pages_chat import sights
from tests.web.review import review

pytestmark = pytest.mark.slow


def test_the_pages_look_as_they_should(tmp_path: Path, full_size: bool) -> None:
    """axe-core finds nothing, and nothing is cut off, in light and dark, on a desk and on a phone."""
    with chat_server(tmp_path) as (service, pages):
        make_person(service, "ann@example.org", name="Ann Lee")
        review(pages, service, "ann@example.org", sights(), every_look=full_size)
