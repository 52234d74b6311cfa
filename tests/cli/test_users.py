"""`freehold users`."""

import pytest

from tests.cli.program import Program, Server

pytestmark = pytest.mark.slow

PASSWORD = "correct horse battery staple"


Served = tuple[Program, Server]


def test_users_are_made_listed_and_disabled(echo_server: Served) -> None:
    """Users come with a password from standard input or a link, are listed, and can be disabled and let in again."""
    program, server = echo_server
    program.fine("users", "create", "ann@example.org", "--role", "owner", "--password", stdin=f"{PASSWORD}\n")
    link = program.fine("users", "create", "bob@example.org").strip()
    assert link.startswith(f"{server.url}/signin/link/")
    assert "disabled bob@example.org" in program.fine("users", "disable", "bob@example.org")
    listed = {user["email"]: user for user in program.json("users", "list")["data"]}
    assert [listed[email]["role"] for email in ("ann@example.org", "bob@example.org")] == ["owner", "user"]
    assert [listed[email]["user"]["enabled"] for email in ("ann@example.org", "bob@example.org")] == [True, False]
    assert "enabled bob@example.org" in program.fine("users", "enable", listed["bob@example.org"]["id"])
    assert PASSWORD not in (program.home / "journal" / "main" / "00000001.jsonl").read_text(encoding="utf-8")


def test_a_password_is_set_and_a_poor_one_is_refused(echo_server: Served) -> None:
    """The password comes from standard input, must be good enough, and may be left to the person by a link."""
    program, _ = echo_server
    program.fine("users", "create", "carol@example.org")
    assert "set the password" in program.fine("users", "passwd", "carol@example.org", stdin=f"{PASSWORD}\n")
    assert "at least 12 characters" in program.refused(2, "users", "passwd", "carol@example.org", stdin="short\n")
    assert "no password on standard input" in program.refused(2, "users", "passwd", "carol@example.org")
    assert "/signin/link/" in program.fine("users", "passwd", "carol@example.org", "--link")
    assert "no user with the address" in program.refused(2, "users", "passwd", "eve@example.org", "--link")


def test_somebody_is_invited(program: Program) -> None:
    """An invitation prints its link, also without a server, where nobody knows the server's address."""
    assert program.fine("users", "invite", "ann@example.org").startswith("/signin/link/")
