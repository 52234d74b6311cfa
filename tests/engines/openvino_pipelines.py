"""Tiny pipelines with random weights in OpenVINO's format, as an export writes them; run as a program.

`python openvino_pipelines.py KIND FOLDER` writes a pipeline, with KIND one of `PIPELINES`; with the kind `lora` an
adapter for `stable-diffusion`. The networks are a few layers each, with the inputs, outputs and names that an export
has; a step of them takes some milliseconds, so that there is time between two steps as there is with real ones.
"""

# ruff: noqa: PLC0415  # the tests import this file also where openvino-genai is not installed

import importlib.util
import json
import shutil
import subprocess
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors.numpy import save_file

from freehold.engines.openvino_runtime import openvino

LENGTH = 77
"""Tokens that the text encoder reads."""
WIDTH = 16
"""Of its vectors."""
LETTERS = [chr(code) for code in range(32, 127)]
VOCABULARY = [*LETTERS, "<|startoftext|>", "<|endoftext|>"]
START, END = len(LETTERS), len(LETTERS) + 1
LATENTS = 4
INNER = 96
"""Channels within the denoiser."""
ROOM = 512
"""Width within the transformer."""
BLOCKS = [4, 4, 4, 4]
"""Four levels: a side of the latent is an eighth of the picture's."""
TO_K = "down_blocks.0.attentions.0.transformer_blocks.0.attn2.to_k"
"""The layer of the denoiser that reads the text."""


def build(kind: str, folder: Path) -> Path:
    """Have a pipeline built in a process of its own; skips the test where openvino-genai is not installed."""
    missing = [name for name in ("openvino_genai", "openvino_tokenizers") if not importlib.util.find_spec(name)]
    if missing:
        pytest.skip(f"needs the extra [openvino], which is not installed: {', '.join(missing)}")
    argv = [sys.executable, "-m", "tests.engines.openvino_pipelines", kind, str(folder)]
    done = subprocess.run(argv, capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 0, done.stderr[-3000:]
    return folder


class _Weights:
    """Draws the weights of the networks, one after the other."""

    def __init__(self) -> None:
        self._draw = np.random.default_rng(0)

    def __call__(self, *shape: int, scale: float = 1.0) -> Any:
        fan = np.prod(shape[1:]) if len(shape) > 1 else 1
        return (self._draw.standard_normal(shape) * scale / np.sqrt(fan)).astype(np.float32)


def _convolved(x: Any, weights: Any) -> Any:
    """A convolution that keeps the size."""
    around = [weights.shape[-1] // 2] * 2
    return openvino.opset15.convolution(x, weights, [1, 1], around, around, [1, 1])


def _named(node: Any, name: str) -> Any:
    node.output(0).get_tensor().set_names({name})
    return node


def _input(shape: list[int], kind: str, name: str) -> Any:
    node = openvino.opset15.parameter(shape, getattr(openvino.Type, kind), name=name)
    return _named(node, name)


def text_encoder(weights: _Weights, *, any_length: bool = False) -> Any:
    """Token ids to a vector each, and one for all; one that reads any length has no positions."""
    ops = openvino.opset15
    ids = _input([-1, -1], "i64", "input_ids")
    table = weights(len(VOCABULARY), WIDTH, scale=4.0)
    states = ops.gather(table, ids, np.int64(0))
    states = ops.tanh(states if any_length else ops.add(states, weights(LENGTH, WIDTH)[None]))
    pooled = ops.reduce_mean(states, np.int64(1), keep_dims=False)
    return openvino.Model([_named(states, "last_hidden_state"), _named(pooled, "pooler_output")], [ids], "text_encoder")


def unet(weights: _Weights, channels: int = LATENTS) -> Any:
    """A noisy latent, the time and the text's vectors to the noise in it."""
    ops = openvino.opset15
    sample = _input([-1, channels, -1, -1], "f32", "sample")
    time = _input([-1], "i64", "timestep")
    states = _input([-1, -1, WIDTH], "f32", "encoder_hidden_states")
    projected = ops.matmul(states, weights(INNER, WIDTH, scale=3.0), transpose_a=False, transpose_b=True)
    projected.set_friendly_name(f"__module.{TO_K}/ov_ext::linear/MatMul")
    text = ops.reduce_mean(projected, np.int64(1), keep_dims=False)
    text = ops.unsqueeze(ops.unsqueeze(text, np.int64(2)), np.int64(3))
    moment = ops.sin(ops.divide(ops.convert(time, "f32"), np.float32(100.0)))
    inner = ops.tanh(ops.add(ops.add(_convolved(sample, weights(INNER, channels, 3, 3)), text), moment))
    inner = ops.tanh(_convolved(inner, weights(INNER, INNER, 3, 3, scale=2.0)))
    noise = _convolved(inner, weights(LATENTS, INNER, 3, 3, scale=0.5))
    return openvino.Model([_named(noise, "out_sample")], [sample, time, states], "unet")


def transformer(weights: _Weights) -> Any:
    """A latent as a row of squares, the time and the text's vectors to the direction of the flow."""
    ops = openvino.opset15
    squares = 4 * LATENTS
    hidden = _input([-1, -1, squares], "f32", "hidden_states")
    states = _input([-1, -1, WIDTH], "f32", "encoder_hidden_states")
    pooled = _input([-1, WIDTH], "f32", "pooled_projections")
    time = _input([-1], "f32", "timestep")
    places = _input([-1, 3], "f32", "img_ids")
    nothing = _input([-1, 3], "f32", "txt_ids")
    text = ops.add(ops.reduce_mean(states, np.int64(1), keep_dims=False), pooled)
    text = ops.unsqueeze(_product(text, weights(ROOM, WIDTH, scale=2.0)), np.int64(1))
    where = ops.unsqueeze(_product(places, weights(ROOM, 3, scale=0.2)), np.int64(0))
    moment = ops.add(ops.sin(time), ops.reduce_sum(nothing, np.array([0, 1]), keep_dims=False))
    inner = ops.add(ops.add(ops.add(_product(hidden, weights(ROOM, squares)), text), where), moment)
    inner = ops.tanh(_product(ops.tanh(inner), weights(ROOM, ROOM)))
    flow = ops.subtract(hidden, _product(inner, weights(squares, ROOM)))
    return openvino.Model([_named(flow, "out_hidden_states")], [hidden, states, pooled, time, places, nothing], "flux")


def _product(x: Any, weights: Any) -> Any:
    return openvino.opset15.matmul(x, weights, transpose_a=False, transpose_b=True)


def vae_encoder(weights: _Weights) -> Any:
    """A picture to the mean and the logarithm of the variance of its latent."""
    ops = openvino.opset15
    sample = _input([-1, 3, -1, -1], "f32", "sample")
    small = ops.avg_pool(sample, [8, 8], [0, 0], [0, 0], [8, 8], exclude_pad=True)
    means = _convolved(small, weights(LATENTS, 3, 1, 1, scale=4.0))
    spreads = ops.subtract(ops.multiply(means, np.float32(0.0)), np.float32(20.0))
    parameters = ops.concat([means, spreads], 1)
    return openvino.Model([_named(parameters, "latent_parameters")], [sample], "vae_encoder")


def vae_decoder(weights: _Weights) -> Any:
    """A latent to a picture from -1 to 1."""
    ops = openvino.opset15
    latent = _input([-1, LATENTS, -1, -1], "f32", "latent_sample")
    colours = _convolved(latent, weights(3, LATENTS, 3, 3, scale=0.2))
    mode = "nearest"
    large = ops.interpolate(colours, np.array([8.0, 8.0], np.float32), mode, "scales", axes=np.array([2, 3], np.int64))
    return openvino.Model([_named(ops.tanh(large), "sample")], [latent], "vae_decoder")


def tokenizer() -> Any:
    """A tokenizer of single letters, between a start and an end."""
    from openvino_tokenizers import tokenizer_pipeline as steps
    from openvino_tokenizers.utils import change_outputs_type

    pipeline = steps.TokenizerPipeline(vocab=VOCABULARY)
    pipeline.add_steps(
        [
            steps.SpecialTokensSplit.from_string_iter(VOCABULARY[START:]),
            steps.RegexSplitStep.split_by_chars(),
            steps.VocabEncoderStep(VOCABULARY, default_value=END),
            steps.TruncationStep(max_length=LENGTH - 2, truncation=True),
            steps.CombineSegmentsStep(
                [steps.AddToken(VOCABULARY[START], START), steps.Sequence(), steps.AddToken(VOCABULARY[END], END)]
            ),
            steps.PaddingStep(VOCABULARY[END], END),
        ]
    )
    model = pipeline.get_tokenizer_ov_subgraph()
    change_outputs_type(model, openvino.Type.i64)
    return model


PARTS = {
    "scheduler": ["diffusers", "DDIMScheduler"],
    "text_encoder": ["transformers", "CLIPTextModel"],
    "tokenizer": ["transformers", "CLIPTokenizer"],
    "unet": ["diffusers", "UNet2DConditionModel"],
    "vae": ["diffusers", "AutoencoderKL"],
    "safety_checker": [None, None],
}
SCHEDULER = {
    "_class_name": "DDIMScheduler",
    "beta_start": 0.00085,
    "beta_end": 0.012,
    "beta_schedule": "scaled_linear",
    "clip_sample": False,
    "set_alpha_to_one": False,
    "num_train_timesteps": 1000,
    "prediction_type": "epsilon",
    "steps_offset": 1,
    "timestep_spacing": "leading",
}
FLUX_PARTS = {
    "scheduler": ["diffusers", "FlowMatchEulerDiscreteScheduler"],
    "text_encoder_2": ["transformers", "T5EncoderModel"],
    "tokenizer_2": ["transformers", "T5TokenizerFast"],
    "transformer": ["diffusers", "FluxTransformer2DModel"],
}
FLOW = {"_class_name": "FlowMatchEulerDiscreteScheduler", "num_train_timesteps": 1000, "use_dynamic_shifting": True}
VAE = {
    "in_channels": 3,
    "out_channels": 3,
    "latent_channels": LATENTS,
    "block_out_channels": BLOCKS,
    "scaling_factor": 0.5,
}
UNET = {"sample_size": 32, "block_out_channels": [INNER, INNER], "cross_attention_dim": WIDTH}
TEXT = {"max_position_embeddings": LENGTH, "num_hidden_layers": 1, "hidden_size": WIDTH}


def stable_diffusion(folder: Path, class_name: str = "StableDiffusionPipeline", channels: int = LATENTS) -> None:
    """Words to pictures with a side of 256; with nine channels a model that was made for inpainting."""
    weights = _Weights()
    _write(folder, "unet/config.json", {"in_channels": channels, **UNET})
    _save(folder, "text_encoder", text_encoder(weights))
    _save(folder, "unet", unet(weights, channels))
    _save_rest(folder, weights, {"_class_name": class_name, **PARTS}, SCHEDULER)


def flux(folder: Path) -> None:
    """Words to pictures by a flow, with a second text encoder and a transformer."""
    weights = _Weights()
    parts = {name: what for name, what in PARTS.items() if name != "unet"} | FLUX_PARTS
    _write(folder, "transformer/config.json", {"in_channels": 4 * LATENTS, "guidance_embeds": False})
    _write(folder, "text_encoder_2/config.json", TEXT)
    _save(folder, "text_encoder", text_encoder(weights))
    _save(folder, "text_encoder_2", text_encoder(weights, any_length=True))
    _save(folder, "transformer", transformer(weights))
    _save(folder, "tokenizer_2", tokenizer(), "openvino_tokenizer")
    _save_rest(folder, weights, {"_class_name": "FluxPipeline", **parts}, FLOW)


def _save_rest(folder: Path, weights: _Weights, index: Mapping[str, Any], scheduler: Mapping[str, Any]) -> None:
    """What all kinds have in common."""
    _write(folder, "model_index.json", index)
    _write(folder, "scheduler/scheduler_config.json", scheduler)
    _write(folder, "text_encoder/config.json", TEXT)
    _write(folder, "vae_encoder/config.json", VAE)
    _write(folder, "vae_decoder/config.json", VAE)
    _save(folder, "vae_encoder", vae_encoder(weights))
    _save(folder, "vae_decoder", vae_decoder(weights))
    _save(folder, "tokenizer", tokenizer(), "openvino_tokenizer")


def _save(folder: Path, place: str, model: Any, name: str = "openvino_model") -> None:
    (folder / place).mkdir(parents=True, exist_ok=True)
    openvino.save_model(model, folder / place / f"{name}.xml", compress_to_fp16=False)


def inpainting(folder: Path) -> None:
    """A model that was made for inpainting: it reads the mask and the masked picture besides the latent."""
    stable_diffusion(folder, "StableDiffusionInpaintPipeline", 2 * LATENTS + 1)


def without_encoder(folder: Path) -> None:
    """Words to pictures; the network that reads pictures was not exported."""
    stable_diffusion(folder)
    shutil.rmtree(folder / "vae_encoder")


def lora(folder: Path) -> None:
    """An adapter for the layer that reads the text, under the names of several programs, and one for another model."""
    weights = _Weights()
    folder.mkdir(parents=True)
    down, up = weights(4, WIDTH, scale=4.0), weights(INNER, 4, scale=4.0)
    for name, layer, words in (
        ("pytorch_lora_weights", f"unet.{TO_K}", ("lora_A", "lora_B")),
        ("peft", f"base_model.model.{TO_K}", ("lora_A", "lora_B")),
        ("kohya", f"lora_unet_{TO_K.replace('.', '_')}", ("lora_down", "lora_up")),
        ("other", "transformer.transformer_blocks.0.attn.to_k", ("lora_A", "lora_B")),
    ):
        tensors = {f"{layer}.{word}.weight": tensor for word, tensor in zip(words, (down, up), strict=True)}
        save_file(tensors, folder / f"{name}.safetensors")


PIPELINES: dict[str, Callable[[Path], None]] = {
    "stable-diffusion": stable_diffusion,
    "flux": flux,
    "inpainting": inpainting,
    "without-encoder": without_encoder,
    "lora": lora,
}


def _write(folder: Path, name: str, content: Mapping[str, Any]) -> None:
    (folder / name).parent.mkdir(parents=True, exist_ok=True)
    (folder / name).write_text(json.dumps(content), encoding="utf-8")


if __name__ == "__main__":
    PIPELINES[sys.argv[1]](Path(sys.argv[2]))
