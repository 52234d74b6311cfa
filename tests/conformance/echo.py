"""What the conformance tests on the echo engine share: its configuration, a tool and a question."""

import openai
from openai import OpenAI

CONFIG = """
[server]
starter = false
max_body_bytes = 100000

[[deployment]]
name = "echo"
engine = "echo"
model = "echo"
aliases = ["gpt-4o"]
options = { context_length = 64, dimensions = 8 }
defaults = { max_tokens = 20 }
"""
WEATHER = {
    "type": "function",
    "function": {
        "name": "get_weather",
        "parameters": {
            "type": "object",
            "properties": {"city": {"type": "string"}},
            "required": ["city"],
            "additionalProperties": False,
        },
    },
}


def ask(client: OpenAI, **parameters: object) -> openai.types.chat.ChatCompletion:
    """A chat completion with one message."""
    body = {"model": "echo", "messages": [{"role": "user", "content": "one two three"}], **parameters}
    return client.chat.completions.create(**body)  # type: ignore[call-overload,no-any-return]
