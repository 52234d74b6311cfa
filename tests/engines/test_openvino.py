"""The `openvino` engine with the starter model: as llama.cpp writes, in the forms that are demanded, within bounds."""

import asyncio
import json
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import jsonschema
import pytest

from freehold.engines.base import Connection, EngineSpec
from freehold.engines.openvino import OpenVinoEngine
from freehold.engines.openvino_formats import shape_of
from freehold.engines.openvino_text_model import load, readable
from freehold.errors import ConfigError, EngineUnavailable, InvalidRequest
from freehold.types.deployment import DeploymentSettings
from freehold.types.engine import Feature, Traits
from freehold.types.generation import Delta
from tests.conftest import StarterModels
from tests.engines.grammar_schemas import SCHEMAS
from tests.engines.llamacpp_models import llamacpp
from tests.engines.openvino_text import active, answers_of, likelihoods_after, loaded, openvino
from tests.engines.subject import PATIENCE_S, Heard, Subject, chat_request, completion_request, hear, socket_path

TOPICS = (
    *("the moon", "a cat", "Rome", "bread", "the number seven", "rain", "a river", "the colour blue", "a violin"),
    *("winter", "coffee", "a bridge", "the sea", "a mouse", "gold", "a letter", "the sun", "an apple", "a train"),
    *("sleep", "music", "a tree", "fire", "the wind", "a clock"),
)
PROMPTS = [f"Tell me about {topic}." for topic in TOPICS] + [f"Write one sentence on {topic}." for topic in TOPICS]
TOKENS = 16
AT_ONCE = 16
SEEDS = 16
BORDER = 1e-3
"""Draws are numbers between 0 and 1, where each token has a stretch as long as its probability. The stretches move by
less than this with who else asks; there two answers of one seed may part."""

pytestmark = [pytest.mark.slow, pytest.mark.llamacpp]


@pytest.fixture(scope="module")
def fast(starter_models: StarterModels) -> Iterator[Subject]:
    """The engine as it is by default."""
    with openvino(starter_models.chat, options={}) as started:
        yield started


@pytest.fixture(scope="module")
def exact(starter_models: StarterModels) -> Iterator[Subject]:
    """The engine with exact activations."""
    with openvino(starter_models.chat) as started:
        yield started


async def _gather(calls: list[Any], at_once: int = AT_ONCE) -> list[Any]:
    """The results of calls, so many at a time."""
    gate = asyncio.Semaphore(at_once)

    async def one(call: Any) -> Any:
        async with gate:
            return await call

    return await asyncio.gather(*(one(call) for call in calls))


def _wait_active(socket: Path, requests: int) -> None:
    """Wait until the engine has so many requests."""
    deadline = time.monotonic() + PATIENCE_S
    while active(socket) != requests:
        assert time.monotonic() < deadline, f"the engine has {active(socket)} requests instead of {requests}"
        time.sleep(0.02)


def test_it_writes_what_llamacpp_writes(starter_models: StarterModels, fast: Subject) -> None:
    """At nine of ten places of 50 answers' first 16 tokens the likeliest token is the one that llama.cpp takes."""
    model = loaded(starter_models.chat)
    assert model.template is not None
    theirs: list[str] = []

    async def ask(connection: Connection, _: Traits) -> None:
        requests = [chat_request(text, max_tokens=TOKENS, temperature=0) for text in PROMPTS]
        theirs.extend(heard.text for heard in await _gather([hear(connection.chat(each)) for each in requests], 1))

    with llamacpp(starter_models.chat, parallel=1) as other:
        other.try_out(ask)
    prompts = [model.encode(model.template.render([{"role": "user", "content": text}], [])) for text in PROMPTS]
    answers = [model.encode(text)[:TOKENS] for text in theirs]
    places = [(number, at) for number, answer in enumerate(answers) for at in range(len(answer))]
    misses: list[str] = []

    async def compare(connection: Connection, _: Traits) -> None:
        request = completion_request(max_tokens=1, temperature=0)
        calls = [hear(connection.complete(request, prompts[number] + answers[number][:at])) for number, at in places]
        for (number, at), heard in zip(places, await _gather(calls), strict=True):
            wanted = model.vocabulary.text(answers[number][at : at + 1])
            if heard.text != wanted and not (heard.text == "" and "�" in wanted):
                before = model.vocabulary.text(answers[number][:at])
                misses.append(f"{PROMPTS[number]!r} {before!r}: {heard.text!r} instead of {wanted!r}")

    fast.try_out(compare)
    assert len(places) > 40 * TOKENS
    assert len(misses) <= len(places) / 10, f"{len(misses)} of {len(places)} differ:\n" + "\n".join(misses)


def test_a_hundred_answers_meet_their_schemas(fast: Subject) -> None:
    """Of 100 answers under schemas, at any temperature and many at a time, each is valid."""
    names = sorted(name for name, schema in SCHEMAS.items() if schema.get("type", "object") == "object")
    jobs = [(names[number % len(names)], TOPICS[number % len(TOPICS)], number) for number in range(100)]
    invalid: list[str] = []

    async def one(connection: Connection, name: str, topic: str, number: int) -> None:
        response_format = {"type": "json_schema", "json_schema": {"name": "it", "schema": SCHEMAS[name]}}
        request = chat_request(
            f"Tell me about {topic}, as JSON.",
            response_format=response_format,
            max_tokens=400,
            temperature=(0, 0.7, 1.3)[number % 3],
        )
        heard: Heard = await hear(connection.chat(request))
        try:
            jsonschema.validate(json.loads(heard.text), SCHEMAS[name])
        except (ValueError, jsonschema.ValidationError) as exc:
            invalid.append(f"{name} ({heard.finish}, {heard.usage.completion_tokens} tokens): {heard.text!r}: {exc}")

    async def trial(connection: Connection, _: Traits) -> None:
        await _gather([one(connection, *job) for job in jobs])

    fast.try_out(trial, Feature.JSON_SCHEMA)
    assert invalid == [], f"{len(invalid)} of 100 are invalid:\n" + "\n".join(invalid)


def test_a_seed_gives_the_same_answer_again(exact: Subject) -> None:
    """With exact activations a lone request gets the same answer each time, and another one by another seed."""

    async def trial(connection: Connection, _: Traits) -> None:
        async def answer(seed: int) -> str:
            request = chat_request(PROMPTS[0], max_tokens=TOKENS, temperature=1, seed=seed)
            return (await hear(connection.chat(request))).text

        first, again = [await answer(seed) for seed in range(4)], [await answer(seed) for seed in range(4)]
        assert again == first
        assert len(set(first)) > 1

    exact.try_out(trial, Feature.SEED)


def test_a_seed_draws_alike_among_others(starter_models: StarterModels) -> None:
    """An answer among others is that of alone, or parts from it where the draw lies at the border of two tokens."""
    options = {"activations": "exact", "kv_cache_precision": "f32", "cache_gib": 0.5}
    model = load(starter_models.chat, options, context_length=256, parallel=SEEDS)
    assert model.template is not None
    texts = [model.template.render([{"role": "user", "content": text}], []) for text in PROMPTS[:SEEDS]]
    prompts = [model.encode(text) for text in texts]
    alone = [answers_of(model, {seed: prompt}, TOKENS)[seed] for seed, prompt in enumerate(prompts)]
    together = answers_of(model, dict(enumerate(prompts)), TOKENS)
    apart = []
    with readable(starter_models.chat) as (folder, _):
        for seed, own in enumerate(alone):
            pairs = enumerate(zip(own, together[seed], strict=False))
            at = next((place for place, (one, other) in pairs if one != other), None)
            if at is not None:
                likelihoods = likelihoods_after(folder, [*prompts[seed], *own[:at]])
                first, last = sorted((own[at], together[seed][at]))
                apart.append(float(likelihoods[first + 1 : last].sum()))
    assert max(apart, default=0.0) < BORDER, f"what lies between the tokens where answers part: {apart}"


def test_seeds_are_not_promised_with_rounding(fast: Subject) -> None:
    """By default a batch may change an answer, so `seed` is not declared; nor is what the library cannot do."""

    async def trial(_: Connection, traits: Traits) -> None:
        absent = {Feature.SEED, Feature.LOGPROBS, Feature.LOGIT_BIAS, Feature.N, Feature.VISION, Feature.EMBEDDINGS}
        assert not traits.features & absent
        assert {Feature.TOOLS, Feature.JSON_SCHEMA, Feature.STOP, Feature.PENALTIES} <= traits.features
        assert OpenVinoEngine().potential(fast.spec.settings) == traits.features

    fast.try_out(trial)


def test_a_token_has_its_likelihood(exact: Subject) -> None:
    """Asked for, each token of an answer comes with the logarithm of its probability, whatever its temperature."""

    async def trial(connection: Connection, _: Traits) -> None:
        for request in (
            connection.chat(chat_request(max_tokens=8, temperature=0, logprobs=True)),
            connection.complete(completion_request(max_tokens=8, logprobs=0), "Once upon a time"),
        ):
            heard = await hear(request)
            entries = [entry for delta in heard.deltas for entry in delta.logprobs]
            assert "".join(entry.token for entry in entries) == heard.text
            assert all(entry.logprob <= 0 for entry in entries)
            assert len(entries) == heard.usage.completion_tokens

    exact.try_out(trial)


def test_penalties_make_other_words(exact: Subject) -> None:
    """A penalty on what was said already leads to more different words."""

    async def trial(connection: Connection, _: Traits) -> None:
        async def different(**penalty: float) -> int:
            request = completion_request(max_tokens=60, temperature=0, **penalty)
            return len(set((await hear(connection.complete(request, "la la la la la la"))).text.split()))

        assert await different(frequency_penalty=1.5) > await different()
        assert await different(presence_penalty=1.5) > await different()

    exact.try_out(trial)


def test_a_full_engine_takes_no_more(starter_models: StarterModels) -> None:
    """As many requests are served as may be, as many wait as may, and the next is told to come again."""

    async def trial(connection: Connection, _: Traits) -> None:
        streams = [connection.chat(chat_request(full.long_prompt, max_tokens=300)) for _ in range(2)]
        assert isinstance(await anext(streams[0]), Delta)
        waiting = asyncio.create_task(anext(streams[1]))
        await asyncio.to_thread(_wait_active, full.socket, 2)
        with pytest.raises(EngineUnavailable) as caught:
            await hear(connection.chat(chat_request()))
        assert caught.value.retry_after_s
        await streams[0].aclose()
        assert isinstance(await waiting, Delta)
        await streams[1].aclose()
        assert (await hear(connection.chat(chat_request(max_tokens=4)))).text

    with openvino(starter_models.chat, parallel=1, options={"max_waiting": 1}) as full:
        full.try_out(trial)


def test_a_full_cache_loses_nothing(starter_models: StarterModels) -> None:
    """Where answers grow beyond what the cache has room for, some are set back, and each comes out as alone."""
    room = 560 * shape_of(starter_models.chat).block_bytes("f32") / 32 / 1024**3
    options = {"cache_gib": room, "kv_cache_precision": "f32", "activations": "exact"}
    prompts = [f"{number}. " + "The story of the fox and the hen goes on. " * 10 for number in range(5)]

    async def trial(connection: Connection, _: Traits) -> None:
        request = completion_request(max_tokens=120, temperature=0)
        alone = [(await hear(connection.complete(request, prompt))).text for prompt in prompts[:2]]
        together = await asyncio.gather(*(hear(connection.complete(request, prompt)) for prompt in prompts))
        assert [heard.text for heard in together][:2] == alone
        assert {heard.finish for heard in together} <= {"stop", "length"}

    with openvino(starter_models.chat, context_length=256, options=options) as small:
        small.try_out(trial)


def test_an_idle_engine_rests(exact: Subject) -> None:
    """Without a request the process uses next to no processor time."""

    def used() -> int:
        fields = Path(f"/proc/{exact.process.pid}/stat").read_text().rpartition(")")[2].split()
        return int(fields[11]) + int(fields[12])

    _wait_active(exact.socket, 0)
    time.sleep(0.5)
    before = used()
    time.sleep(1)
    assert used() - before <= 5


def test_foreign_architectures_are_refused(tmp_path: Path) -> None:
    """A file of an architecture that the library does not read is refused before anything is started, by its name."""
    file = tmp_path / "model"
    key, value = b"general.architecture", b"gemma3"
    entry = len(key).to_bytes(8, "little") + key + (8).to_bytes(4, "little") + len(value).to_bytes(8, "little") + value
    file.write_bytes(b"GGUF" + (3).to_bytes(4, "little") + bytes(8) + (1).to_bytes(8, "little") + entry)
    spec = EngineSpec(DeploymentSettings(name="a", model="m", engine="openvino"), file)
    with pytest.raises(ConfigError, match=r"'gemma3'.*llamacpp"):
        OpenVinoEngine().launch(spec, tmp_path / "s")


def test_too_small_a_cache_is_told(starter_models: StarterModels) -> None:
    """A cache without room for one request ends the process with the option's name and what it would need."""
    options = {"cache_gib": 0.001}
    settings = DeploymentSettings(name="a", model="m", engine="openvino", context_length=2048, options=options)
    with socket_path() as socket:
        launch = OpenVinoEngine().launch(EngineSpec(settings, starter_models.chat), socket)
        run = subprocess.run(launch.argv, capture_output=True, text=True, timeout=PATIENCE_S, check=False)
    assert run.returncode == 1
    assert "options.cache_gib" in run.stderr
    assert "GiB" in run.stderr.splitlines()[-1]


@pytest.mark.parametrize(
    ("settings", "named"),
    [
        ({"options": {"precision": "u8"}}, "options.precision"),
        ({"options": {"cache_gib": 0}}, "options.cache_gib"),
        ({"options": {"threads": 0}}, "options.threads"),
        ({"options": {"lora": []}}, "options.lora"),
        ({"task": "embeddings"}, "task"),
        ({"base_url": "http://a/v1"}, "base_url"),
    ],
)
def test_unusable_settings_are_refused(settings: dict[str, Any], named: str) -> None:
    """A setting that the engine cannot use is refused by its name."""
    with pytest.raises(ConfigError) as caught:
        OpenVinoEngine().validate(DeploymentSettings(name="a", model="m", engine="openvino", **settings))
    assert caught.value.param == named


def test_unknown_tokens_are_refused(exact: Subject) -> None:
    """A prompt of token ids that the model does not know is refused, and the engine goes on."""

    async def trial(connection: Connection, _: Traits) -> None:
        with pytest.raises(InvalidRequest, match="token id"):
            await hear(connection.complete(completion_request(max_tokens=2), [1, 2_000_000]))
        assert (await hear(connection.complete(completion_request(max_tokens=2), [1, 2]))).usage.prompt_tokens == 2

    exact.try_out(trial)
