"""The table of OpenAI's operations says what the running application serves."""

import difflib

import pytest

from tests.conformance.spec import SPECS
from tools.api_coverage import PAGE, claims, page, read_specification, served

SPECIFICATION = SPECS / "openai.yaml"


def test_what_the_table_calls_served_is() -> None:
    """Every operation that docs/reference/api-coverage.md calls served is a route of the application."""
    said = claims(PAGE.read_text(encoding="utf-8"))
    assert ("post", "/chat/completions") in said
    assert said <= served()


@pytest.mark.slow
@pytest.mark.skipif(not SPECIFICATION.is_file(), reason="the specification does not lie beside the repository")
def test_the_table_is_current() -> None:
    """The page is what `python -m tools.api_coverage` writes now, of every operation that the specification has."""
    made = page(read_specification(SPECIFICATION), served()).splitlines()
    committed = PAGE.read_text(encoding="utf-8").splitlines()
    assert list(difflib.unified_diff(committed, made, lineterm="", n=0)) == []
