"""How tests start the `openvino` engine, and ask its server, or its model, by ways of their own."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np

from freehold.engines.base import EngineSpec
from freehold.engines.openvino import OpenVinoEngine
from freehold.engines.openvino_answer import Sampling
from freehold.engines.openvino_genai import openvino_genai
from freehold.engines.openvino_runtime import openvino as runtime
from freehold.engines.openvino_text_model import TextModel, load
from freehold.types.deployment import DeploymentSettings
from tests.engines.llamacpp_models import ask
from tests.engines.subject import Subject, running, socket_path, wait_open


def active(socket: Path) -> int:
    """How many requests the engine works on."""
    return int(ask(socket, "/v1/stats")["active"])


@lru_cache(maxsize=1)
def loaded(weights: Path) -> TextModel:
    """The model in this process, for its tokenizer and for tests of what is around it."""
    return load(weights, {"cache_gib": 0.25}, context_length=512, parallel=4)


@contextmanager
def openvino(weights: Path, **settings: Any) -> Iterator[Subject]:
    """The engine with a model file and settings of the deployment; its answers are the same whoever else asks."""
    deployment = DeploymentSettings(
        name="local",
        model="local",
        engine="openvino",
        **{"context_length": 1024, "options": {"activations": "exact", "kv_cache_precision": "f32"}, **settings},
    )
    engine, spec = OpenVinoEngine(), EngineSpec(deployment, weights, "00" * 32)
    engine.validate(deployment)
    with socket_path() as socket, running(engine.launch(spec, socket)) as process:
        wait_open(engine, spec, socket)
        yield Subject(
            engine,
            spec,
            socket,
            process,
            "Write a very long story about a fox. Once upon a time, there was",
            lambda: active(socket),
            lambda text: loaded(weights).encode(text),
        )


def answers_of(model: TextModel, prompts: Mapping[int, Sequence[int]], limit: int) -> dict[int, list[int]]:
    """The tokens of answers that are written at once, by the seeds that their prompts have."""
    handles = {seed: model.begin(seed, prompt, Sampling(seed=seed), limit, None, 0) for seed, prompt in prompts.items()}
    answers: dict[int, list[int]] = {seed: [] for seed in handles}
    running = openvino_genai.GenerationStatus.RUNNING
    while any(handle.get_status() == running or handle.can_read() for handle in handles.values()):
        if model.pipeline.has_non_finished_requests():
            model.pipeline.step()
        for seed, handle in handles.items():
            while handle.can_read():
                answers[seed] += [token for output in handle.read().values() for token in output.generated_ids]
    return answers


def likelihoods_after(folder: Path, tokens: Sequence[int]) -> Any:
    """The probability of each token after these, by the network that lies in a folder."""
    exact = {"INFERENCE_PRECISION_HINT": "f32", "DYNAMIC_QUANTIZATION_GROUP_SIZE": 0, "KV_CACHE_PRECISION": "f32"}
    request = runtime.Core().compile_model(folder / "openvino_model.xml", "CPU", exact).create_infer_request()
    for place, token in enumerate(tokens):
        given = {"input_ids": [[token]], "attention_mask": [[1] * (place + 1)], "position_ids": [[place]]}
        arrays = {name: np.array(value, np.int64) for name, value in given.items()}
        request.infer({**arrays, "beam_idx": np.zeros(1, np.int32)})
    logits = request.get_tensor("logits").data[0, -1].astype(np.float64)
    likelihoods = np.exp(logits - logits.max())
    return likelihoods / likelihoods.sum()
