"""The llama.cpp engine at its limits: broken files, full contexts, crowds, cut characters, adapters."""

import asyncio
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import gguf
import numpy as np
import pytest

from freehold.engines.base import Connection, EngineSpec
from freehold.engines.gguf_header import read_metadata
from freehold.engines.llamacpp import LlamaCppEngine
from freehold.errors import ContextLengthExceeded
from freehold.types.deployment import DeploymentSettings
from freehold.types.engine import Feature, Traits
from freehold.types.generation import Delta
from tests.conftest import StarterModels
from tests.engines.llamacpp_models import busy_slots, llamacpp
from tests.engines.subject import PATIENCE_S, Subject, chat_request, completion_request, hear

pytestmark = pytest.mark.slow
ENDLESS = {"0": -100.0, "2": -100.0}
"""Bans the starter model's ends of text."""
CONTEXT = 256


@pytest.fixture(scope="module")
def started(starter_models: StarterModels) -> Iterator[Subject]:
    """The engine with eight slots of short contexts."""
    with llamacpp(starter_models.chat, context_length=CONTEXT) as subject:
        yield subject


def test_a_model_with_garbage_in_it_ends_the_process_with_one_line(
    starter_models: StarterModels, tmp_path: Path
) -> None:
    """Files with a good head, and garbage or nothing behind it, are refused on one line with status 1."""
    whole = starter_models.chat.read_bytes()
    for name, content in (("cut", whole[: len(whole) // 2]), ("garbage", whole[:24] + b"\xa5" * 100_000)):
        broken = tmp_path / f"{name}.gguf"
        broken.write_bytes(content)
        launch = LlamaCppEngine().launch(EngineSpec(DeploymentSettings(name="a", model="m"), broken), tmp_path / "s")
        ended = subprocess.run(launch.argv, capture_output=True, text=True, timeout=60, check=False)
        assert ended.returncode == 1
        assert ended.stderr.strip().splitlines()[-1].startswith("the model cannot be served: ")


def test_one_slot_with_more_context_than_trained_serves(starter_models: StarterModels) -> None:
    """A context longer than the model was trained for, and a single slot, are served as asked for."""
    trained = read_metadata(starter_models.chat)["llama.context_length"]

    async def trial(connection: Connection, traits: Traits) -> None:
        assert traits.context_length is not None
        assert traits.context_length >= trained
        both = [hear(connection.chat(chat_request("Hi", max_tokens=4))) for _ in range(2)]
        assert all(heard.text for heard in await asyncio.gather(*both))

    with llamacpp(starter_models.chat, context_length=trained * 2, parallel=1) as subject:
        subject.try_out(trial)


def test_a_prompt_as_long_as_the_context_is_answered_or_refused(started: Subject) -> None:
    """Around the exact length of the context a prompt is answered within it or refused by its length, no more."""

    async def trial(connection: Connection, traits: Traits) -> None:
        limit = traits.context_length or 0
        for length in (limit - 1, limit, limit + 1):
            prompt = [100 + number for number in range(length)]
            request = completion_request(max_tokens=8, logit_bias=ENDLESS)
            if length < limit:
                heard = await hear(connection.complete(request, prompt))
                assert heard.finish == "length"
                assert heard.usage.total_tokens <= limit + 1
            else:
                with pytest.raises(ContextLengthExceeded) as refusal:
                    await hear(connection.complete(request, prompt))
                assert refusal.value.limit == limit

    started.try_out(trial)


def test_characters_of_several_tokens_come_whole(started: Subject) -> None:
    """Emoji and Chinese, which have several tokens a character, are never cut apart by a stream."""
    said = "🦊🌍 你好世界 🎉"

    async def trial(connection: Connection, _: Traits) -> None:
        biased = {str(token): 12.0 for token in await asyncio.to_thread(started.token_ids, said)}
        for seed in range(3):
            request = chat_request(f"Repeat: {said}", seed=seed, max_tokens=40, logit_bias=biased)
            heard = await hear(connection.chat(request))
            assert any(ord(char) > 0x2000 for char in heard.text)
            assert "\ufffd" not in heard.text

    started.try_out(trial)


def test_a_stop_sequence_of_several_tokens_ends_the_text_before_it(started: Subject) -> None:
    """A stop sequence that spans tokens is found, and no part of it or of what follows is streamed."""

    async def trial(connection: Connection, _: Traits) -> None:
        said = {"temperature": 0.0, "max_tokens": 40}
        whole = (await hear(connection.chat(chat_request("Name the planets.", **said)))).text
        stop = whole[11:26]
        heard = await hear(connection.chat(chat_request("Name the planets.", stop=stop, **said)))
        assert heard.finish == "stop"
        assert heard.text == whole[: whole.index(stop)]
        wanted = {"type": "json_object"}
        cut = await hear(connection.chat(chat_request(response_format=wanted, stop=["}"], seed=1, max_tokens=40)))
        assert "}" not in cut.text

    started.try_out(trial)


def test_more_requests_than_slots_are_all_answered(started: Subject) -> None:
    """Thirty-two requests at once on eight slots are all answered, each in full."""

    async def trial(connection: Connection, _: Traits) -> None:
        request = chat_request(max_tokens=8, logit_bias=ENDLESS)
        heard = await asyncio.gather(*(hear(connection.chat(request)) for _ in range(32)))
        assert [one.usage.completion_tokens for one in heard] == [8] * 32

    started.try_out(trial)


def test_cancelling_a_crowd_frees_every_slot(started: Subject) -> None:
    """When twenty streams are given up at once, running and waiting, no slot stays busy and new work is done."""

    async def trial(connection: Connection, _: Traits) -> None:
        async def listen() -> None:
            async for event in connection.chat(chat_request(started.long_prompt, logit_bias=ENDLESS)):
                assert isinstance(event, Delta)

        listeners = [asyncio.create_task(listen()) for _ in range(20)]
        while await asyncio.to_thread(busy_slots, started.socket) < 8:  # noqa: ASYNC110  # another process
            await asyncio.sleep(0.01)
        for listener in listeners:
            listener.cancel()
        await asyncio.gather(*listeners, return_exceptions=True)
        deadline = time.monotonic() + PATIENCE_S
        while await asyncio.to_thread(busy_slots, started.socket):  # another process
            assert time.monotonic() < deadline
            await asyncio.sleep(0.05)
        assert (await hear(connection.chat(chat_request(max_tokens=4)))).text

    started.try_out(trial)


def _adapter(path: Path, metadata: dict[str, object]) -> Path:
    """A LoRA adapter with random values for the queries of the first two layers."""
    writer = gguf.GGUFWriter(path, str(metadata["general.architecture"]))
    writer.add_type("adapter")
    writer.add_string("adapter.type", "lora")
    writer.add_float32("adapter.lora.alpha", 8.0)
    size, rank, source = int(str(metadata["llama.embedding_length"])), 4, np.random.default_rng(7)
    for layer in range(2):
        for name, shape in (("lora_a", (rank, size)), ("lora_b", (size, rank))):
            values = source.normal(0, 0.2, shape).astype(np.float32)
            writer.add_tensor(f"blk.{layer}.attn_q.weight.{name}", values)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return path


def test_an_adapter_changes_the_model_by_its_scale(starter_models: StarterModels, tmp_path: Path) -> None:
    """A LoRA adapter at scale 1 gives other probabilities than the model, and at scale 0 the model's own."""
    path = _adapter(tmp_path / "adapter.gguf", read_metadata(starter_models.chat))

    def likelihoods(scale: float | None) -> list[tuple[str, float]]:
        found: list[tuple[str, float]] = []

        async def trial(connection: Connection, _: Traits) -> None:
            request = chat_request("Name a colour.", temperature=0, max_tokens=8, logprobs=True)
            heard = await hear(connection.chat(request))
            found.extend((token.token, token.logprob) for delta in heard.deltas for token in delta.logprobs)

        lora = [] if scale is None else [{"path": str(path), "scale": scale}]
        with llamacpp(starter_models.chat, context_length=CONTEXT, parallel=1, options={"lora": lora}) as subject:
            subject.try_out(trial, Feature.LOGPROBS)
        return found

    base, without, changed = likelihoods(None), likelihoods(0.0), likelihoods(1.0)
    assert [token for token, _ in without] == [token for token, _ in base]
    assert [value for _, value in without] == pytest.approx([value for _, value in base], abs=1e-4)
    assert changed[0][1] != pytest.approx(base[0][1], abs=1e-3)
