"""What stands in a receipt is told to its readers."""

import pytest

from freehold.types.receipt import Admitted, Receipt
from tests.architecture.tree import ROOT

NAMES = sorted({field for kind in (Receipt, Admitted) for field in kind._fields})


@pytest.mark.parametrize("name", NAMES)
def test_a_field_of_a_record_is_documented(name: str) -> None:
    """A field of a receipt, or of an admission, stands in the reference of the journal's format."""
    page = (ROOT / "docs" / "reference" / "journal.md").read_text(encoding="utf-8")
    assert f"| `{name}` |" in page
