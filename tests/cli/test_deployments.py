"""`freehold deployments`, without a running server."""

import pytest

from tests.cli.program import Program

pytestmark = pytest.mark.slow


def _names(program: Program) -> set[str]:
    return {found["name"] for found in program.json("deployments")["data"]}


def test_a_deployment_is_created_listed_scaled_and_deleted(program: Program) -> None:
    """The commands change what the list shows, with the settings that were given."""
    options = ["--alias", "gpt-4o", "--parallel", "3", "--price-input", "0.15", "--start", "on_demand"]
    filters = program.home.with_name("filters.toml")
    filters.write_text('[[content_filter]]\nname = "strict"\n', encoding="utf-8")
    program.fine("filter", "apply", str(filters))
    options += ["--zone", "eu", "--content-filter", "strict"]
    program.fine("deployments", "create", "echo", "--engine", "echo", "--model", "echo", *options)
    found = program.json("deployments", "show", "echo")
    assert found["settings"]["aliases"] == ["gpt-4o"]
    assert found["settings"]["parallel"] == 3
    assert (found["settings"]["zone"], found["settings"]["content_filter"]) == ("eu", "strict")
    assert found["settings"]["price"]["input"] == "0.15"
    program.fine("deployments", "scale", "echo", "2")
    table = program.fine("deployments", "list")
    row = next(line for line in table.splitlines() if line.startswith("echo "))
    assert "0/2" in row
    assert "gpt-4o" in row
    program.fine("deployments", "delete", "echo", "--yes")
    assert "echo" not in _names(program)


def test_a_taken_name_is_wrong_input(program: Program) -> None:
    """Creating a deployment that exists ends with 2 and changes nothing."""
    create = ["deployments", "create", "echo", "--engine", "echo", "--model", "echo"]
    program.fine(*create)
    assert "exists already" in program.refused(2, *create, "--parallel", "2")
    assert "parallel" not in program.json("deployments", "show", "echo")["settings"]


def test_an_unknown_deployment_is_wrong_input(program: Program) -> None:
    """Scaling or deleting what does not exist ends with 2."""
    program.refused(2, "deployments", "scale", "ghost", "2")
    program.refused(2, "deployments", "delete", "ghost", "--yes")


def test_an_unknown_engine_option_is_named(program: Program) -> None:
    """An option that the engine does not have ends with 2 and the option's name."""
    line = program.refused(
        2, "deployments", "create", "e", "--engine", "echo", "--model", "echo", "-o", "turbo_mode=true"
    )
    assert "options.turbo_mode" in line


def test_an_unknown_content_filter_is_named(program: Program) -> None:
    """A content-filter policy that does not exist ends with 2 and its name."""
    create = ["deployments", "create", "e", "--engine", "echo", "--model", "echo", "--content-filter", "ghost"]
    assert "there is no content-filter policy 'ghost'" in program.refused(2, *create)


def test_a_value_out_of_range_is_named(program: Program) -> None:
    """A setting with a wrong value ends with 2 and the setting's name."""
    line = program.refused(2, "deployments", "create", "e", "--model", "echo", "--parallel", "0")
    assert "parallel" in line


def test_deleting_asks_and_without_a_terminal_wants_yes(program: Program) -> None:
    """Without --yes and without anybody to ask, nothing is deleted."""
    program.fine("deployments", "create", "mine", "--engine", "echo", "--model", "echo")
    assert "--yes" in program.refused(2, "deployments", "delete", "mine")
    assert "mine" in _names(program)


def test_looking_at_a_new_home_does_not_furnish_it(program: Program) -> None:
    """Before a home is first served it has no deployments, and the list says so."""
    assert _names(program) == set()
    assert "no deployments yet" in program.run("deployments").stderr


def test_measuring_wants_a_running_server(program: Program) -> None:
    """Engines are measured where they run; without a server the command says how to start one."""
    program.fine("deployments", "create", "echo", "--engine", "echo", "--model", "echo")
    assert "freehold serve" in program.refused(2, "deployments", "measure", "echo")
    assert "not running" in program.fine("deployments", "show", "echo")


def test_units_are_given_shown_and_taken_away(program: Program) -> None:
    """What nobody has measured is refused without --force; given units stand in the list, with whose they are."""
    create = ["deployments", "create", "echo", "--engine", "echo", "--model", "echo"]
    program.fine(*create)
    program.fine("deployments", "create", "rest", "--engine", "echo", "--model", "echo")
    capacity = ["deployments", "capacity", "echo"]
    assert "has no units" in program.fine(*capacity)
    give = [*capacity, "--units", "100", "--reserve", "proj_shop=40", "--spillover", "rest"]
    assert "freehold deployments calibrate echo" in program.refused(2, *give)
    told = program.fine(*give, "--force")
    assert "echo has 100 units; what goes beyond goes to rest" in told
    assert "proj_shop" in told
    settings = program.json("deployments", "show", "echo")["settings"]
    assert settings["capacity"] == {"units": 100, "reserved": {"proj_shop": 40}, "spillover": "rest"}
    row = next(line for line in program.fine("deployments", "list").splitlines() if line.startswith("echo "))
    assert row.rstrip().endswith("0 % of 100 units")
    assert "has no units" in program.fine(*capacity, "--remove")
    assert "capacity" not in program.json("deployments", "show", "echo")["settings"]


@pytest.mark.parametrize(
    ("options", "told"),
    [
        (["--spillover", "rest"], "--units"),
        (["--units", "3", "--remove"], "--remove"),
        (["--units", "3", "--reserve", "proj_shop"], "--reserve"),
        (["--units", "3", "--reserve", "proj_shop=4"], "4 units are reserved of 3"),
    ],
)
def test_units_that_make_no_sense_are_wrong_input(program: Program, options: list[str], told: str) -> None:
    """Half an order for units ends with 2 and says what is missing or wrong."""
    assert told in program.refused(2, "deployments", "capacity", "echo", *options)


def test_what_does_not_run_is_not_calibrated(program: Program) -> None:
    """Without a server there is nothing to measure, and it is said how to have it."""
    program.fine("deployments", "create", "echo", "--engine", "echo", "--model", "echo")
    assert "freehold serve" in program.refused(2, "deployments", "calibrate", "echo")
