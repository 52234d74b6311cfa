"""OpenAI's requests become bodies of llama.cpp's server that say everything outright and lose nothing."""

from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from freehold.engines import llamacpp_requests as requests
from freehold.engines.base import EngineSpec
from freehold.engines.llamacpp_connection import LlamaCppConnection
from freehold.errors import InvalidRequest
from freehold.types.deployment import DeploymentSettings
from tests.engines.subject import chat_request, completion_request

VOCABULARY = 1000
NO_SEED = 2**32 - 1


def _connection() -> LlamaCppConnection:
    return LlamaCppConnection(EngineSpec(DeploymentSettings(name="a", model="m")), Path("unused"))


def test_openai_defaults_are_said_outright() -> None:
    """A request that says nothing about sampling is sampled from the whole distribution, as at OpenAI."""
    body = requests.sampling(chat_request(), VOCABULARY)
    neutral = {"temperature": 1.0, "top_p": 1.0, "top_k": 0, "min_p": 0.0, "typical_p": 1.0, "repeat_penalty": 1.0}
    assert body.items() >= neutral.items()
    assert body["stream"] is True
    assert body["stream_options"] == {"include_usage": True}
    assert not body.keys() & {"stop", "logit_bias", "max_tokens"}


def test_values_of_the_caller_are_passed_on() -> None:
    """Temperature, top_p, seed and stop reach the server as the caller gave them, zero included."""
    body = requests.sampling(chat_request(temperature=0, top_p=0.0, seed=7, stop="x"), VOCABULARY)
    assert (body["temperature"], body["top_p"], body["seed"], body["stop"]) == (0, 0.0, 7, ["x"])
    assert requests.sampling(completion_request(stop=["a", "b"]), VOCABULARY)["stop"] == ["a", "b"]


@pytest.mark.parametrize("penalty", ["frequency_penalty", "presence_penalty"])
def test_penalties_look_at_the_whole_answer(penalty: str) -> None:
    """A penalty counts every token so far, not llama.cpp's last 64; without one nothing is counted."""
    parameters: dict[str, Any] = {penalty: -0.5}
    body = requests.sampling(chat_request("Hi", **parameters), VOCABULARY)
    assert body[penalty] == -0.5
    assert body["repeat_last_n"] >= 2**16
    assert requests.sampling(chat_request(), VOCABULARY)["repeat_last_n"] == 0


@given(seed=st.integers(-(2**63), 2**63 - 1))
def test_every_seed_is_one_that_the_server_keeps(seed: int) -> None:
    """Any seed of the specification becomes the same 32 bits each time, and never llama.cpp's word for none."""
    first = requests.sampling(chat_request(seed=seed), VOCABULARY)["seed"]
    assert first == requests.sampling(chat_request(seed=seed), VOCABULARY)["seed"]
    assert 0 <= first < NO_SEED
    assert first == seed or not 0 <= seed < NO_SEED


def test_requests_without_a_seed_differ() -> None:
    """Two requests without a seed do not share one."""
    assert len({requests.sampling(chat_request(), VOCABULARY)["seed"] for _ in range(8)}) > 1


def test_bias_of_minus_100_bans_a_token() -> None:
    """A bias is added to the token's logit; at -100 the token cannot come at all."""
    body = requests.sampling(chat_request(logit_bias={"5": 1.5, "6": -100, "999": 100}), VOCABULARY)
    assert body["logit_bias"] == [[5, 1.5], [6, False], [999, 100]]


def test_a_bias_of_an_unknown_token_is_refused() -> None:
    """A token id beyond the vocabulary is refused with the range that there is."""
    with pytest.raises(InvalidRequest, match=r"1000\..*0 to 999") as refusal:
        requests.sampling(chat_request(logit_bias={"1000": 1}), VOCABULARY)
    assert refusal.value.param == "logit_bias"


def test_bodies_of_a_chat() -> None:
    """A chat's body has its messages, its limit under either name, and at least one alternative with logprobs."""
    connection = _connection()
    body = connection.chat_body(chat_request("Hi", max_completion_tokens=3, logprobs=True))
    assert body["messages"] == [{"role": "user", "content": "Hi"}]
    assert (body["max_tokens"], body["logprobs"], body["top_logprobs"]) == (3, True, 1)
    assert connection.chat_body(chat_request(max_tokens=4))["max_tokens"] == 4
    free = connection.chat_body(chat_request())
    assert free["max_tokens"] == -1
    assert not free.keys() & {"logprobs", "top_logprobs", "grammar"}


def test_bodies_of_a_completion() -> None:
    """A completion's body has its prompt as it is, text or token ids."""
    connection = _connection()
    assert connection.completion_body(completion_request(), [1, 2])["prompt"] == [1, 2]
    body = connection.completion_body(completion_request(max_tokens=5, logprobs=0), "Once")
    assert (body["prompt"], body["max_tokens"], body["logprobs"]) == ("Once", 5, 1)
