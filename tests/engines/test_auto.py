"""What `engine = "auto"` stands for."""

import pytest

from freehold.engines.auto import FASTEST_FIRST, LeftOut, among, check, plan
from freehold.engines.registry import ENGINES
from freehold.errors import ConfigError
from freehold.types.deployment import DeploymentSettings
from tests.serving.trial import QUICK_FIRST, auto
from tests.serving.trial_engine import find_engine


def test_every_engine_of_auto_exists() -> None:
    """The engines that `auto` stands for are in the registry, and each task has one at least."""
    assert {name for names in FASTEST_FIRST.values() for name in names} <= set(ENGINES)
    assert set(FASTEST_FIRST) == {"chat", "embeddings", "images"}
    assert all(FASTEST_FIRST.values())


def test_a_named_engine_is_the_only_one() -> None:
    """The settings of a deployment that names its engine go to it as they are."""
    settings = DeploymentSettings(name="chat", model="echo", engine="echo")
    assert plan(settings).lanes == (settings,)


def test_each_engine_gets_the_options_for_all_and_its_own() -> None:
    """A table that is named after an engine is for it alone, and goes before what is for all."""
    settings = auto(quick={"load_s": 1}, full={"load_s": 2})
    settings = settings.model_copy(update={"options": {**settings.options, "load_s": 3, "complaints": 1}})
    quick, full = plan(settings, find_engine, QUICK_FIRST).lanes
    assert (quick.engine, quick.options["load_s"], quick.options["complaints"]) == ("quick", 1, 1)
    assert (full.engine, full.options["load_s"], full.options["complaints"]) == ("trial", 2, 1)
    assert not {"quick", "trial"} & (quick.options.keys() | full.options.keys())


def test_an_engine_that_refuses_an_option_for_all_is_left_out() -> None:
    """It would not do what was asked for, so the full engine serves alone, and why is told."""
    settings = DeploymentSettings(name="chat", model="echo", options={"chat_template": "chatml-tools"})
    found = plan(settings, fastest_first={"chat": ("echo", "llamacpp")})
    assert [lane.engine for lane in found.lanes] == ["llamacpp"]
    (left_out,) = found.left_out
    assert left_out.engine == "echo"
    assert "chat_template" in left_out.why


def test_an_engine_that_is_not_installed_is_left_out() -> None:
    """What it lacks is told."""
    found = plan(auto(), find_engine, {"chat": ("absent", "trial")})
    assert [lane.engine for lane in found.lanes] == ["trial"]
    assert found.left_out == (LeftOut("absent", "its package is not installed"),)


@pytest.mark.parametrize(
    ("options", "param"),
    [
        ({"warp": 9}, "options.warp"),
        ({"echo": {"warp": 9}}, "options.warp"),
        ({"painter": {"warp": 9}}, "options.painter"),
        ({"echo": 7}, "options.echo"),
    ],
)
def test_what_no_engine_takes_is_refused(options: dict[str, object], param: str) -> None:
    """An option that the full engine does not know, or that is wrong in an engine's own table, is named."""
    settings = DeploymentSettings(name="chat", model="echo", options=options)
    with pytest.raises(ConfigError) as caught:
        check(settings, fastest_first={"chat": ("echo", "llamacpp")})
    assert caught.value.param == param


def test_options_for_an_engine_that_is_not_used_harm_nobody() -> None:
    """A table for a faster engine that the configuration does not name is kept from the others."""
    settings = DeploymentSettings(name="chat", model="m", options={"openvino": {"precision": "f32"}, "threads": 1})
    check(settings)
    (lane,) = plan(settings, fastest_first=among(())).lanes
    assert (lane.engine, lane.options) == ("llamacpp", {"threads": 1})
    assert [lane.engine for lane in plan(settings, fastest_first=among(("openvino",))).lanes][-1] == "llamacpp"
