"""`freehold filter` and `freehold blocklists`, without a running server."""

from pathlib import Path

import pytest

from tests.cli.program import Program

pytestmark = pytest.mark.slow

FILTERS = """
[[content_filter]]
name = "strict"
blocklists = ["codenames"]
personal_data = { prompt = "mask", completion = "block" }
secrets = { prompt = "block" }

[[blocklist]]
name = "codenames"
items = [{ term = "red falcon" }]
"""


@pytest.fixture
def file(tmp_path: Path) -> Path:
    """A file with a policy and the list that it names."""
    path = tmp_path / "filters.toml"
    path.write_text(FILTERS, encoding="utf-8")
    return path


def test_a_file_of_policies_is_applied_shown_and_undone(program: Program, file: Path) -> None:
    """What a file says is stored whole, is shown with its defaults, changes nothing again, and can be deleted."""
    assert [line.split()[0] for line in program.fine("filter", "apply", str(file)).splitlines()] == ["set", "set"]
    again = program.json("filter", "apply", str(file))
    assert [(found["name"], found["changed"]) for found in again["data"]] == [("strict", False), ("codenames", False)]
    table = program.fine("filter")
    assert "personal_data (masked); secrets; list codenames" in table
    shown = program.fine("filter", "show", "strict")
    assert "hate.prompt.threshold" in shown
    assert "personal_data.completion" in shown
    assert "named by the policy 'strict'" in program.refused(2, "blocklists", "delete", "codenames")
    program.fine("filter", "delete", "strict")
    program.fine("blocklists", "delete", "codenames")
    assert [found["name"] for found in program.json("filter", "list")["data"]] == ["default"]


def test_a_file_with_a_fault_stores_nothing(program: Program, file: Path) -> None:
    """A file whose policy names no list of its own, or that has none, ends with 2 and changes nothing."""
    file.write_text(FILTERS.replace('name = "codenames"', 'name = "others"'), encoding="utf-8")
    assert "there is no blocklist 'codenames'" in program.refused(2, "filter", "apply", str(file))
    file.write_text("[server]\nport = 1\n", encoding="utf-8")
    assert "no [[content_filter]] and no [[blocklist]]" in program.refused(2, "filter", "apply", str(file))
    assert program.json("blocklists")["data"] == []


def test_a_text_is_tried(program: Program, file: Path) -> None:
    """Trying a text tells what is found in it, whether it is blocked, and what it passes as."""
    program.fine("filter", "apply", str(file))
    told = program.fine("filter", "test", "write to ana@example.org", "--policy", "strict")
    assert "passes as: write to [EMAIL]" in told
    assert "blocked: personal_data" in program.fine(
        "filter", "test", "-", "--policy", "strict", "--side", "completion", stdin="card 4111 1111 1111 1111"
    )
    found = program.json("filter", "test", "AKIAABCDEFGHABCDEFGH", "--policy", "strict")
    assert (found["blocked"], found["side"], found["source"]) == (["secrets"], "prompt", "user")
    program.refused(2, "filter", "test", "x", "--policy", "ghost")


def test_a_list_is_made_and_kept(program: Program, tmp_path: Path) -> None:
    """Adding makes a list, adds to it, and tells how many are new; removing takes items off again."""
    assert "made: words (2 new, 2 in all)" in program.fine("blocklists", "add", "words", "bananaphone", "red falcon")
    assert "added to: words (1 new, 3 in all)" in program.fine("blocklists", "add", "words", "Bananaphone", "fig")
    program.fine("blocklists", "add", "words", "kiwi[0-9]+", "--pattern", "--action", "annotate")
    assert program.json("blocklists", "show", "words")["settings"] == {
        "name": "words",
        "prompt": "annotate",
        "completion": "annotate",
        "items": [{"term": "bananaphone"}, {"term": "red falcon"}, {"term": "fig"}, {"pattern": "kiwi[0-9]+"}],
    }
    lines = tmp_path / "words.txt"
    lines.write_text("# fruit\nmango\n\nplum\nmango\n", encoding="utf-8")
    assert "(2 new, 6 in all)" in program.fine("blocklists", "import", "words", str(lines))
    assert "(2 gone, 4 left)" in program.fine("blocklists", "remove", "words", "mango", "plum")
    assert "no term 'mango'" in program.refused(2, "blocklists", "remove", "words", "mango")
    assert "kiwi[0-9]+" in program.fine("blocklists", "show", "words")


def test_a_list_of_a_project_stays_its_own(program: Program) -> None:
    """A list is made for a project by its name or id, and is not another's afterwards."""
    program.fine("projects", "create", "research")
    program.fine("blocklists", "add", "own", "plum", "--project", "research")
    (found,) = program.json("blocklists")["data"]
    assert found["settings"]["project"].startswith("proj")
    assert "choose another name" in program.refused(2, "blocklists", "add", "own", "pear", "--project", "proj-default")
    assert "project" in program.fine("blocklists", "list")


def test_wrong_items_are_refused(program: Program, tmp_path: Path) -> None:
    """A pattern that cannot be used, and a file that cannot be read or is empty, end with 2 and the reason."""
    assert "missing )" in program.refused(2, "blocklists", "add", "bad", "(", "--pattern")
    assert "cannot be read" in program.refused(2, "blocklists", "import", "bad", str(tmp_path / "ghost.txt"))
    assert "there is no item" in program.refused(2, "blocklists", "import", "bad", "-", stdin="# nothing\n")
    assert "No blocklist has the name 'bad'" in program.refused(2, "blocklists", "show", "bad")
