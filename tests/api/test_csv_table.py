"""Tables as CSV."""

import csv
import io

from freehold.api.csv_table import csv_text


def test_no_field_is_a_formula() -> None:
    """What a spreadsheet would compute is text; numbers stay numbers, and what has commas and lines comes back."""
    rows = [["=1+1", "+x", "-x", "@x", 'a,b\n"c"', -3, None]]
    found = list(csv.reader(io.StringIO(csv_text(["a"] * 7, rows))))
    assert found[1] == ["'=1+1", "'+x", "'-x", "'@x", 'a,b\n"c"', "-3", ""]
