"""`freehold keys`, without a running server."""

import pytest

from tests.cli.program import Program


@pytest.mark.slow
def test_a_created_key_is_alone_on_stdout(program: Program) -> None:
    """`KEY=$(freehold keys create app)` holds the key and nothing else; the note goes to stderr."""
    done = program.run("keys", "create", "app")
    assert done.returncode == 0
    assert done.stdout.strip().startswith("fh-")
    assert len(done.stdout.split()) == 1
    assert "not shown again" in done.stderr


@pytest.mark.slow
def test_a_key_is_listed_without_itself_and_can_be_revoked_by_name(program: Program) -> None:
    """The list shows a key's last four characters only; after revoking by name it shows when."""
    created = program.json("keys", "create", "app", "--role", "owner")
    listed = program.run("keys", "list", "--json").stdout
    assert created["key"] not in listed
    assert created["last4"] in listed
    program.fine("keys", "revoke", "app")
    mine = next(key for key in program.json("keys")["data"] if key["id"] == created["id"])
    assert mine["role"] == "owner"
    assert mine["revoked_at"] is not None
    assert "app" in program.refused(2, "keys", "revoke", "app")


@pytest.mark.slow
def test_a_name_that_two_keys_share_does_not_say_which_to_revoke(program: Program) -> None:
    """With two valid keys of one name, revoking by it ends with 2 and names both ids."""
    ids = [program.json("keys", "create", "twin")["id"] for _ in range(2)]
    line = program.refused(2, "keys", "revoke", "twin")
    assert all(each in line for each in ids)


@pytest.mark.slow
def test_a_users_key_may_not_administer(program: Program) -> None:
    """Administration with a key of role user ends with 4, and so does an unknown key."""
    key = program.fine("keys", "create", "app").strip()
    program.with_env(FREEHOLD_API_KEY=key).refused(4, "keys", "list")
    program.with_env(FREEHOLD_API_KEY="fh-unknown").refused(4, "keys", "list")


@pytest.mark.slow
def test_an_unknown_role_is_wrong_usage(program: Program) -> None:
    """A role that there is not ends with 2."""
    assert "user" in program.refused(2, "keys", "create", "app", "--role", "king")


@pytest.mark.slow
def test_options_before_the_subcommand_reach_it(program: Program) -> None:
    """`keys --home DIR list` uses that home."""
    elsewhere = program.home.with_name("elsewhere")
    program.fine("keys", "--home", str(elsewhere), "list")
    assert (elsewhere / "admin.key").exists()
    assert not program.home.exists()
