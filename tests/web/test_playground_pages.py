"""The playground passes the review."""

from pathlib import Path

import pytest

from tests.service import Service
from tests.web.browser import make_person, open_browser
from tests.web.pages_playground import sights
from tests.web.review import review

pytestmark = pytest.mark.slow

CONFIG = """
[server]
starter = false

[[deployment]]
name = "echo"
engine = "echo"
model = "echo"
price = { input = "15", output = "60" }

[[deployment]]
name = "echo-small"
engine = "echo"
model = "echo"
price = { input = "1.5", output = "6" }
"""


def test_the_playground_is_as_it_should_be(tmp_path: Path, full_size: bool) -> None:
    """Every part of the request and every view of the answer."""
    with Service(tmp_path / "home", CONFIG) as service, open_browser() as browser:
        make_person(service, "dev@example.org", name="Dev Reviewer")
        review(browser, service, "dev@example.org", sights(), every_look=full_size, in_order=True)
