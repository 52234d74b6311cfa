"""`freehold content-keys`, `master-key`, `retention` and `erase`, without a running server and with one."""

import json
from pathlib import Path
from typing import Any

import pytest

from tests.cli.program import Program, Server

pytestmark = pytest.mark.slow


def made_project(program: Program) -> str:
    """A project beside the default one, by the API that the command line has no command for."""
    import urllib.request  # noqa: PLC0415  # only here

    server = json.loads((program.home / "run" / "server.json").read_text())
    key = (program.home / "admin.key").read_text().strip()
    request = urllib.request.Request(
        f"{server['url']}/v1/organization/projects",
        data=b'{"name": "Maps"}',
        headers={"authorization": f"Bearer {key}", "content-type": "application/json"},
    )
    with urllib.request.urlopen(request) as response:
        return str(json.load(response)["id"])


def test_a_projects_key_is_revoked_and_restored(program: Program) -> None:
    """The state changes, is listed, and what was so already is told; where nobody can be asked, --yes is named."""
    assert "nothing was kept" in program.run("content-keys").stderr
    assert "--yes" in program.refused(2, "content-keys", "revoke", "proj-default")
    assert program.fine("content-keys", "revoke", "proj-default", "--yes").startswith("revoked")
    assert program.fine("content-keys", "revoke", "proj-default", "--yes").startswith("unchanged")
    listed = program.json("content-keys", "list")["data"]
    assert [(row["project_id"], row["state"]) for row in listed] == [("proj-default", "revoked")]
    assert "revoked" in program.fine("content-keys")
    assert program.fine("content-keys", "restore", "proj-default").startswith("active")
    assert "proj_nothing" in program.refused(2, "content-keys", "restore", "proj_nothing")


def test_the_master_key_is_exchanged(program: Program) -> None:
    """After `rotate` another master key is in use, and the file of the one before is gone."""
    before = program.json("master-key", "show")
    secret = (program.home / "secrets" / "content").read_bytes()
    told = program.run("master-key", "rotate")
    assert told.returncode == 0
    assert "Backups from before" in told.stderr
    after = program.json("master-key", "show")
    assert after["name"] != before["name"]
    assert after["name"] in told.stdout
    assert (program.home / "secrets" / "content").read_bytes() != secret
    assert not (program.home / "secrets" / "content.next").exists()


def test_retention_is_set_and_shown(program: Program) -> None:
    """Times and zero retention are set for a project and the organization, and shown with where they come from."""
    told = program.fine("retention", "set", "proj-default", "--keep", "answers=600")
    assert "600 s" in told
    assert program.json("retention", "show", "proj-default")["keep_s"] == {"answers": 600}
    assert "do not say: not stored" in told
    assert "do not say: stored" in program.fine("retention", "set", "--store")
    assert "do not say: not stored" in program.fine("retention", "set", "proj-default", "--no-store")
    assert "zero_data_retention" in program.fine("retention", "set", "--zero")
    assert program.json("retention", "show", "proj-default")["effective"]["zero"] is True
    program.fine("retention", "set", "--type", "modified_abuse_monitoring")
    assert program.json("retention", "show")["effective"]["zero"] is False
    assert "KIND=SECONDS" in program.refused(2, "retention", "set", "--keep", "answers")
    assert "letters" in program.refused(2, "retention", "set", "--keep", "letters=600")
    assert "not both" in program.refused(2, "retention", "set", "--zero", "--type", "none")


def test_a_project_is_erased_and_the_certificate_verified(echo_server: tuple[Program, Server], tmp_path: Path) -> None:
    """Asked first, erased once, proven offline with the home's key and journal; changed, it is refused with 1."""
    program, _ = echo_server
    project, file = made_project(program), tmp_path / "erased.json"
    assert "--yes" in program.refused(2, "erase", "project", project)
    assert str(file) in program.fine("erase", "project", project, "--yes", "--output", str(file))
    assert "exists already" in program.refused(2, "erase", "project", project, "--yes", "--output", str(file))
    told = program.fine("erase", "verify", str(file))
    assert told.splitlines()[-1] == "verified"
    assert f"project {project}" in told
    proof = ["--public-key", str(program.home / "journal" / "public.pem"), "--journal", str(program.home / "journal")]
    found = program.json("erase", "verify", str(file), *proof)
    assert (found["known_key"], found["in_journal"]) == (True, True)
    (erasure,) = program.json("erase", "list")["data"]
    assert json.loads(program.fine("erase", "show", erasure["id"])) == json.loads(file.read_text())
    assert project in program.fine("erase", "list")
    changed: dict[str, Any] = json.loads(file.read_text())
    changed["certificate"]["subject"]["id"] = "proj-default"
    file.write_text(json.dumps(changed))
    assert "signature" in program.refused(1, "erase", "verify", str(file))
    file.write_text("{}")
    assert "no certificate" in program.refused(2, "erase", "verify", str(file))
    assert program.fine("audit", "verify").splitlines()[-1] == "verified"


def test_who_is_not_there_is_not_erased(program: Program) -> None:
    """An unknown user, the last project and the last owner are refused with the reason."""
    assert "user-nothing" in program.refused(2, "erase", "user", "user-nothing", "--yes")
    assert "project" in program.refused(2, "erase", "project", "proj-default", "--yes")
    assert "Nothing was erased" in program.run("erase", "list").stderr
