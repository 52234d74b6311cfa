"""`freehold abuse`, as its users run it on a server with a past."""

import asyncio
import csv
import io
from collections.abc import Iterator

import pytest

from freehold.governance.digests import Digests
from freehold.store.home import Home
from tests.api.flagged_past import KEPT, NAME, TEXT, seed
from tests.cli.program import ECHO_CONFIG, Program

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def watched(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Program]:
    """A running server whose journal has flagged requests, and whose store has the texts of some."""
    folder = tmp_path_factory.mktemp("watched")
    config = folder / "freehold.toml"
    config.write_text(ECHO_CONFIG)
    program = Program(folder / "home")
    program.home.mkdir()
    asyncio.run(seed(program.home))
    with program.serving("--config", str(config)):
        yield program


@pytest.fixture
def digest(watched: Program) -> str:
    """What stands for the end user on receipts."""
    return Digests(Home(watched.home).pepper()).end_user(NAME)


def test_a_report_names_the_worst(watched: Program, digest: str) -> None:
    """The table has whose requests were flagged, how many, and what was found; CSV and JSON have the same figures."""
    out = watched.fine("abuse", "report", "--since", "7d", "--project", "proj-default")
    head, line = out.splitlines()
    assert head.split()[:4] == ["END_USER", "PROJECT", "REQUESTS", "FLAGGED"]
    assert line.split()[:5] == [digest, "proj-default", "11", "3", "3"]
    assert "in hate high 3" in line
    (row,) = csv.DictReader(io.StringIO(watched.fine("abuse", "report", "--project", "proj-default", "--csv")))
    assert (row["end_user"], row["flagged"], row["suspended"]) == (digest, "3", "False")
    (data,) = watched.json("abuse", "report", "--group-by", "principal")["data"]
    assert (data["id"], data["flagged"]) == ("svc_seed", 4)
    assert "Nothing was flagged" in watched.run("abuse", "report", "--since", "1m").stderr
    assert "choose one" in watched.run("abuse", "report", "--csv", "--json").stderr


def test_one_subject_is_shown_by_day(watched: Program, digest: str) -> None:
    """By name or digest the days, the total with its score, and what is flagged come out."""
    by_name = watched.fine("abuse", "show", "--end-user", NAME)
    assert by_name == watched.fine("abuse", "show", digest)
    assert by_name.splitlines()[0] == f"end_user {digest}"
    assert "score 20.0" in by_name
    assert "was asked by" in watched.refused(2, "abuse", "show", "svc_nobody")
    assert "SUBJECT" in watched.refused(2, "abuse", "show")


def test_a_user_is_suspended_and_resumed(watched: Program, digest: str) -> None:
    """Suspending, listing and resuming by the end user's name, with an end that the list tells."""
    told = ("--reason", "sends bananaphone", "--until", "30d")
    out = watched.fine("abuse", "suspend", "--end-user", NAME, "--project", "proj-default", *told)
    assert out.startswith(f"suspended: {digest} in proj-default until 2")
    (row,) = watched.json("abuse", "list")["data"]
    assert (row["subject"], row["reason"]) == (digest, "sends bananaphone")
    assert "sends bananaphone" in watched.fine("abuse", "list")
    assert "suspended in proj-default" in watched.fine("abuse", "show", digest)
    assert "  suspended  " in watched.fine("abuse", "report", "--project", "proj-default")
    watched.fine("abuse", "suspend", digest, "--reason", "everywhere now")
    assert "name one by its id" in watched.refused(2, "abuse", "resume", digest)
    assert watched.fine("abuse", "resume", row["id"]).startswith("resumed: ")
    assert watched.fine("abuse", "resume", "--end-user", NAME).startswith(f"resumed: {digest}")
    assert "Nobody is suspended" in watched.run("abuse", "list").stderr
    assert "is not suspended" in watched.refused(2, "abuse", "resume", digest)
    assert "--until" in watched.refused(2, "abuse", "suspend", digest, "--reason", "x", "--until", "soon")


def test_a_blocked_text_is_reviewed_and_forgotten(watched: Program) -> None:
    """The list shows no text; reviewing needs a reason and prints it; forgetting deletes it."""
    listed = watched.fine("abuse", "flagged", "--project", "proj-default")
    assert all(each in listed for each in KEPT)
    assert TEXT not in listed
    assert "--reason" in watched.refused(2, "abuse", "review", KEPT[0])
    assert watched.fine("abuse", "review", KEPT[0], "--reason", "case 7").splitlines() == [TEXT, "an answer"]
    assert watched.json("abuse", "review", KEPT[0], "--reason", "case 7")["prompt"] == TEXT
    assert KEPT[0] in watched.fine("abuse", "forget", KEPT[0], "--yes")
    assert "Nothing is kept" in watched.refused(2, "abuse", "review", KEPT[0], "--reason", "case 7")
    assert "flagged.reviewed" in watched.fine("audit", "log", "--event", "flagged.*")
