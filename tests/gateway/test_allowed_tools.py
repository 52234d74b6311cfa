"""The choice `allowed_tools` of responses: the model is shown some of the tools of the request."""

from typing import Any

import pytest
from pydantic import ValidationError

from freehold.errors import InvalidRequest
from freehold.gateway.response_mcp import McpQuestion
from freehold.gateway.response_toolbox import ServerTools, Toolbox
from freehold.types.mcp import RemoteTool
from freehold.types.responses import ResponseRequest

WEATHER = {"type": "function", "name": "weather", "parameters": {"type": "object"}}
HERE = ("image_generation", "desk__add", "desk__drop", "other__add")


def toolbox(mode: str, *allowed: dict[str, Any]) -> Toolbox:
    """What the model may call, of two functions and what is carried out here."""
    request = ResponseRequest.model_validate(
        {
            "model": "m",
            "input": "x",
            "tools": [WEATHER, WEATHER | {"name": "clock"}],
            "tool_choice": {"type": "allowed_tools", "mode": mode, "tools": list(allowed)},
        }
    )
    tool = RemoteTool("t", None, {"type": "object"})
    here = {name: McpQuestion(None, tool, name) for name in HERE}  # type: ignore[arg-type]  # nothing is called
    return Toolbox(request, ServerTools(tools=dict(here)))


@pytest.mark.parametrize("mode", ["auto", "required"])
@pytest.mark.parametrize(
    ("allowed", "shown"),
    [
        ([{"type": "function", "name": "clock"}], ["clock"]),
        ([{"type": "image_generation"}], ["image_generation"]),
        ([{"type": "mcp", "server_label": "desk"}], ["desk__add", "desk__drop"]),
        (
            [{"type": "mcp", "server_label": "desk", "name": "add"}, {"type": "function", "name": "weather"}],
            ["weather", "desk__add"],
        ),
    ],
)
def test_the_model_is_shown_the_allowed_tools_only(mode: str, allowed: list[dict[str, Any]], shown: list[str]) -> None:
    """What is not allowed is not shown and not called here; that one must be called holds for the first turn."""
    box = toolbox(mode, *allowed)
    assert [tool.function.name for tool in box.tools] == shown
    assert (box.choice(0), box.choice(1)) == (mode, "auto")
    assert [name for name in HERE if box.find(name) is not None] == [name for name in shown if name in HERE]


@pytest.mark.parametrize(
    "missing",
    [
        {"type": "function", "name": "desk__add"},
        {"type": "mcp", "server_label": "des"},
        {"type": "mcp", "server_label": "desk", "name": "burn"},
    ],
)
def test_only_tools_that_there_are_can_be_allowed(missing: dict[str, Any]) -> None:
    """One that is not among the tools is refused by its name, though others are there."""
    with pytest.raises(InvalidRequest, match="not found in 'tools'") as refused:
        toolbox("auto", {"type": "function", "name": "weather"}, missing)
    assert refused.value.param == "tool_choice"


def test_nothing_cannot_be_allowed() -> None:
    """Who allows no tool says `none`."""
    with pytest.raises(ValidationError, match="at least 1 item"):
        toolbox("auto")
