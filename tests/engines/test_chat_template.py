"""Templates are rendered as they are written, in a sandbox, and what they refuse is the caller's to mend."""

import pytest

from freehold.engines.chat_template import ChatTemplate
from freehold.errors import InvalidRequest

MESSAGES = [{"role": "user", "content": "Hi <b>"}]


def test_a_template_sees_messages_tools_and_tokens() -> None:
    """Messages, tools as JSON, the special tokens and the wish for an answer are there; nothing is escaped for HTML."""
    source = "{{ bos_token }}{% for m in messages %}[{{ m.role }}]{{ m.content }}{% endfor %}{{ tools | tojson }}"
    template = ChatTemplate(source + "{% if add_generation_prompt %}>{% endif %}", {"bos_token": "<s>"})
    tools = [{"type": "function", "function": {"name": "é"}}]
    assert template.render(MESSAGES, tools) == ('<s>[user]Hi <b>[{"type": "function", "function": {"name": "é"}}]>')


def test_arguments_of_calls_are_objects() -> None:
    """A template writes the arguments of an earlier call as the object that they are."""
    call = {"id": "c", "type": "function", "function": {"name": "f", "arguments": '{"a": 1}'}}
    template = ChatTemplate("{{ messages[0].tool_calls[0].function.arguments | tojson }}", {})
    assert template.render([{"role": "assistant", "content": "", "tool_calls": [call]}], []) == '{"a": 1}'


def test_what_a_template_refuses_is_told() -> None:
    """A template's own complaint reaches the caller."""
    template = ChatTemplate("{{ raise_exception('roles must alternate') }}", {})
    with pytest.raises(InvalidRequest, match="roles must alternate") as refusal:
        template.render(MESSAGES, [])
    assert refusal.value.param == "messages"


def test_a_template_is_kept_in_its_sandbox() -> None:
    """A template that reaches for the program around it gets nothing."""
    template = ChatTemplate("{{ ''.__class__.__mro__[1].__subclasses__() }}", {})
    with pytest.raises(InvalidRequest):
        template.render(MESSAGES, [])


def test_a_broken_template_is_told() -> None:
    """What is no template is an error that says where; marks for training are none."""
    with pytest.raises(ValueError, match="chat template"):
        ChatTemplate("{% if %}", {})
    assert ChatTemplate("{% generation %}a{% endgeneration %}", {}).render(MESSAGES, []) == "a"
