"""Calls of tools that were asked about and allowed: they are carried out before the model is asked again."""

from collections.abc import Container, Sequence

from freehold.errors import InvalidRequest
from freehold.gateway.response_input import Item
from freehold.gateway.response_tool import ServerTool
from freehold.gateway.response_toolbox import ServerTools


def approved_calls(items: Sequence[Item], given: Container[str], server: ServerTools) -> list[tuple[ServerTool, str]]:
    """What carries the allowed calls out, and their arguments.

    Args:
        items: all that came before, and the input.
        given: the ids of the input: only what is allowed there is carried out now.
        server: what can be carried out.

    Raises:
        InvalidRequest: an answer is to no question, to one that was answered before, or about a tool that is not here.
    """
    questions = {item["id"]: item for item in items if item["type"] == "mcp_approval_request"}
    answers = [item for item in items if item["type"] == "mcp_approval_response"]
    found: list[tuple[ServerTool, str]] = []
    seen: set[str] = set()
    for answer in answers:
        name = answer["approval_request_id"]
        question = questions.get(name)
        if answer["id"] in given:
            if question is None or name in seen:
                what = "was answered before" if name in seen else "does not exist here"
                raise InvalidRequest(f"The approval request '{name[:64]}' {what}.", param="input")
            if answer["approve"]:
                tool = server.approved(question["server_label"], question["name"], name)
                if tool is None:
                    raise InvalidRequest(
                        f"The tool '{question['name'][:64]}' was allowed, but the MCP server "
                        f"'{question['server_label'][:64]}' with that tool is not among the tools of this request.",
                        param="tools",
                    )
                found.append((tool, question["arguments"]))
        seen.add(name)
    return found
