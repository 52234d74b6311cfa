"""Tiny pipelines with random weights, as diffusers' own tests build them; run as a program, away from the tests.

`python diffusers_pipelines.py KIND FOLDER` writes a pipeline, with KIND one of `PIPELINES`; with the kind `lora` an
adapter for `stable-diffusion`.
"""

# ruff: noqa: PLC0415  # the tests import this file also where torch is not installed

import importlib.util
import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

BETAS = {"beta_start": 0.00085, "beta_end": 0.012, "beta_schedule": "scaled_linear"}


def build(kind: str, folder: Path) -> Path:
    """Have a pipeline built in a process of its own; skips the test where torch and diffusers are not installed."""
    missing = [name for name in ("torch", "diffusers", "transformers", "peft") if not importlib.util.find_spec(name)]
    if missing:
        pytest.skip(f"needs the extra [gpu], which is not installed: {', '.join(missing)}")
    argv = [sys.executable, __file__, kind, str(folder)]
    environment = {**os.environ, "HF_HUB_OFFLINE": "1"}
    done = subprocess.run(argv, env=environment, capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 0, done.stderr[-3000:]
    return folder


def _tokenizer() -> Any:
    """A tokenizer of single letters."""
    from transformers import CLIPTokenizer

    letters = [chr(code) for code in range(33, 127)]
    pieces = [*letters, *(f"{letter}</w>" for letter in letters), "<|startoftext|>", "<|endoftext|>"]
    return CLIPTokenizer({piece: index for index, piece in enumerate(pieces)}, [], model_max_length=77)


def _text_config(**more: Any) -> Any:
    from transformers import CLIPTextConfig

    return CLIPTextConfig(
        hidden_size=32,
        intermediate_size=37,
        num_attention_heads=4,
        num_hidden_layers=2,
        vocab_size=1000,
        bos_token_id=188,
        eos_token_id=189,
        pad_token_id=189,
        **more,
    )


def _stable_diffusion(channels: int = 4) -> dict[str, Any]:
    """The components of a Stable Diffusion whose pictures have a side of 64."""
    from diffusers import AutoencoderKL, DDIMScheduler, UNet2DConditionModel
    from transformers import CLIPTextModel

    unet = UNet2DConditionModel(
        block_out_channels=(4, 8),
        layers_per_block=1,
        sample_size=32,
        in_channels=channels,
        out_channels=4,
        down_block_types=("DownBlock2D", "CrossAttnDownBlock2D"),
        up_block_types=("CrossAttnUpBlock2D", "UpBlock2D"),
        cross_attention_dim=32,
        norm_num_groups=2,
    )
    vae = AutoencoderKL(
        block_out_channels=[4, 8],
        in_channels=3,
        out_channels=3,
        down_block_types=["DownEncoderBlock2D", "DownEncoderBlock2D"],
        up_block_types=["UpDecoderBlock2D", "UpDecoderBlock2D"],
        latent_channels=4,
        norm_num_groups=2,
    )
    return {
        "unet": unet,
        "vae": vae,
        "scheduler": DDIMScheduler(**BETAS, clip_sample=False, set_alpha_to_one=False),
        "text_encoder": CLIPTextModel(_text_config()),
        "tokenizer": _tokenizer(),
        "safety_checker": None,
        "feature_extractor": None,
        "image_encoder": None,
    }


def stable_diffusion() -> Any:
    """Words to pictures."""
    from diffusers import StableDiffusionPipeline

    return StableDiffusionPipeline(**_stable_diffusion(), requires_safety_checker=False)


def inpainting() -> Any:
    """A model made for inpainting: it reads the mask besides the picture."""
    from diffusers import StableDiffusionInpaintPipeline

    return StableDiffusionInpaintPipeline(**_stable_diffusion(channels=9), requires_safety_checker=False)


def checked() -> Any:
    """Words to pictures, all of which its safety checker refuses."""
    from diffusers import StableDiffusionPipeline
    from diffusers.pipelines.stable_diffusion.safety_checker import StableDiffusionSafetyChecker
    from transformers import CLIPConfig, CLIPImageProcessor

    vision = {"hidden_size": 32, "intermediate_size": 37, "num_attention_heads": 4, "num_hidden_layers": 2}
    config = CLIPConfig(vision_config={**vision, "image_size": 32, "patch_size": 8}, projection_dim=16)
    checker = StableDiffusionSafetyChecker(config)
    checker.concept_embeds_weights.data.fill_(-10.0)  # a threshold that everything is above
    parts = _stable_diffusion()
    parts["safety_checker"] = checker
    parts["feature_extractor"] = CLIPImageProcessor(size={"shortest_edge": 32}, crop_size={"height": 32, "width": 32})
    return StableDiffusionPipeline(**parts)


def _unclip() -> dict[str, Any]:
    """What unCLIP from words and unCLIP from a picture share."""
    from diffusers import UnCLIPScheduler, UNet2DConditionModel, UNet2DModel
    from diffusers.pipelines.deprecated.unclip.text_proj import UnCLIPTextProjModel
    from transformers import CLIPTextModelWithProjection

    def super_resolution() -> Any:
        return UNet2DModel(
            sample_size=64,
            layers_per_block=1,
            down_block_types=("ResnetDownsampleBlock2D", "ResnetDownsampleBlock2D"),
            up_block_types=("ResnetUpsampleBlock2D", "ResnetUpsampleBlock2D"),
            block_out_channels=(32, 64),
            in_channels=6,
            out_channels=3,
        )

    decoder = UNet2DConditionModel(
        sample_size=32,
        in_channels=3,
        out_channels=6,
        down_block_types=("ResnetDownsampleBlock2D", "SimpleCrossAttnDownBlock2D"),
        up_block_types=("SimpleCrossAttnUpBlock2D", "ResnetUpsampleBlock2D"),
        mid_block_type="UNetMidBlock2DSimpleCrossAttn",
        block_out_channels=(32, 64),
        layers_per_block=1,
        cross_attention_dim=100,
        attention_head_dim=4,
        resnet_time_scale_shift="scale_shift",
        class_embed_type="identity",
    )
    return {
        "decoder": decoder,
        "text_encoder": CLIPTextModelWithProjection(_text_config(projection_dim=32)),
        "tokenizer": _tokenizer(),
        "text_proj": UnCLIPTextProjModel(clip_embeddings_dim=32, time_embed_dim=128, cross_attention_dim=100),
        "super_res_first": super_resolution(),
        "super_res_last": super_resolution(),
        "decoder_scheduler": UnCLIPScheduler(variance_type="learned_range", prediction_type="epsilon"),
        "super_res_scheduler": UnCLIPScheduler(variance_type="fixed_small_log", prediction_type="epsilon"),
    }


def unclip() -> Any:
    """UnCLIP from words: a prior makes the picture's embedding, a decoder the picture."""
    from diffusers import PriorTransformer, UnCLIPPipeline, UnCLIPScheduler

    prior = PriorTransformer(num_attention_heads=2, attention_head_dim=12, embedding_dim=32, num_layers=1)
    prior.clip_std.data.fill_(1.0)
    scheduler = UnCLIPScheduler(variance_type="fixed_small_log", prediction_type="sample", clip_sample_range=5.0)
    return UnCLIPPipeline(**_unclip(), prior=prior, prior_scheduler=scheduler)


def unclip_variation() -> Any:
    """UnCLIP from a picture: its embedding is decoded anew."""
    from diffusers import UnCLIPImageVariationPipeline
    from transformers import CLIPImageProcessor, CLIPVisionConfig, CLIPVisionModelWithProjection

    config = CLIPVisionConfig(
        hidden_size=32,
        projection_dim=32,
        num_hidden_layers=2,
        num_attention_heads=4,
        image_size=32,
        intermediate_size=37,
        patch_size=8,
    )
    return UnCLIPImageVariationPipeline(
        **_unclip(),
        feature_extractor=CLIPImageProcessor(size={"shortest_edge": 32}, crop_size={"height": 32, "width": 32}),
        image_encoder=CLIPVisionModelWithProjection(config),
    )


PIPELINES: dict[str, Callable[[], Any]] = {
    "stable-diffusion": stable_diffusion,
    "inpainting": inpainting,
    "checked": checked,
    "unclip": unclip,
    "unclip-variation": unclip_variation,
}


def _write_lora(folder: Path) -> None:
    """An adapter whose weights change the picture."""
    import torch
    from diffusers import StableDiffusionPipeline
    from diffusers.utils import convert_state_dict_to_diffusers
    from peft import LoraConfig
    from peft.utils import get_peft_model_state_dict

    pipeline = stable_diffusion()
    pipeline.unet.add_adapter(LoraConfig(r=4, target_modules=["to_q", "to_k", "to_v"], init_lora_weights=False))
    for name, weight in pipeline.unet.named_parameters():
        if "lora" in name:
            weight.data.copy_(torch.randn_like(weight))
    state = convert_state_dict_to_diffusers(get_peft_model_state_dict(pipeline.unet))
    StableDiffusionPipeline.save_lora_weights(str(folder), state, safe_serialization=True)


def main() -> None:
    """Write what the arguments name."""
    import torch

    kind, folder = sys.argv[1], Path(sys.argv[2])
    torch.manual_seed(0)
    if kind == "lora":
        _write_lora(folder)
    else:
        PIPELINES[kind]().save_pretrained(folder, safe_serialization=True)
        if kind.startswith("unclip"):
            _name_library(folder / "model_index.json")


def _name_library(index: Path) -> None:
    """Name the library of unCLIP's own component as published pipelines do."""
    content = json.loads(index.read_text())
    content["text_proj"][0] = "unclip"
    index.write_text(json.dumps(content))


if __name__ == "__main__":
    main()
