"""The model is transformers' Llama, to rounding: logits, loss, gradients and names."""

import math
from functools import partial

import pytest
import torch
from transformers import LlamaConfig, LlamaForCausalLM

from freehold.training.language.model import GPT, LEFT_OUT, built, loss, loss_in_pieces
from freehold.training.language.recipes import ModelRecipe, named

pytestmark = pytest.mark.torch

SIZES = {"vocabulary": 97, "layers": 2, "width": 32, "heads": 4, "feed_forward": 48, "context": 24}


def small(**changes: object) -> ModelRecipe:
    """Sizes that are quick."""
    return ModelRecipe.model_validate({**SIZES, "kv_heads": 4, **changes})


def ready(recipe: ModelRecipe, seed: int = 1) -> GPT:
    """A model with weights, on the processor."""
    model = built(recipe).to_empty(device="cpu")
    model.initialise(seed)
    return model


def llama(recipe: ModelRecipe) -> LlamaForCausalLM:
    """Transformers' model of the same sizes."""
    return LlamaForCausalLM(
        LlamaConfig(
            vocab_size=recipe.vocabulary,
            hidden_size=recipe.width,
            intermediate_size=recipe.feed_forward,
            num_hidden_layers=recipe.layers,
            num_attention_heads=recipe.heads,
            num_key_value_heads=recipe.kv_heads,
            max_position_embeddings=recipe.context,
            rms_norm_eps=recipe.norm_epsilon,
            rope_parameters={"rope_type": "default", "rope_theta": recipe.rope_theta},
            tie_word_embeddings=recipe.tied,
        )
    )


@pytest.mark.parametrize("recipe", [small(), small(kv_heads=2, tied=False, rope_theta=500_000.0), small(kv_heads=1)])
def test_transformers(recipe: ModelRecipe) -> None:
    """On the same weights, logits, loss and every gradient are those of transformers' Llama."""
    ours, theirs = ready(recipe), llama(recipe)
    for weight in ours.parameters():  # norms that are not all ones
        torch.nn.init.normal_(weight, 0.0 if weight.dim() > 1 else 1.0, 0.2)
    problems = theirs.load_state_dict(ours.state_dict(), strict=False)
    assert (problems.missing_keys, problems.unexpected_keys) == ([], [])
    tokens = torch.randint(0, recipe.vocabulary, (3, 24))
    expected = theirs(tokens, labels=tokens)
    logits = ours(tokens)
    torch.testing.assert_close(logits, expected.logits, atol=2e-5, rtol=1e-4)
    loss = ours(tokens[:, :-1], tokens[:, 1:])
    torch.testing.assert_close(loss, expected.loss, atol=1e-6, rtol=1e-6)
    loss.backward()
    expected.loss.backward()
    gradients = {name: weight.grad for name, weight in theirs.named_parameters()}
    assert {name for name, _ in ours.named_parameters()} == set(gradients)
    for name, weight in ours.named_parameters():
        torch.testing.assert_close(
            weight.grad, gradients[name], atol=1e-6, rtol=1e-4, msg=lambda m, n=name: f"{n}: {m}"
        )


@pytest.mark.parametrize("tied", [True, False])
def test_parameters(tied: bool) -> None:
    """The recipe knows how many numbers are learnt."""
    recipe = small(kv_heads=2, tied=tied)
    assert sum(weight.numel() for weight in built(recipe).parameters()) == recipe.parameters


def test_first_weights() -> None:
    """First weights depend on the seed and the weight's name alone, and have the deviations of GPT-2."""
    one, same, other = ready(small(), 1), ready(small(), 1), ready(small(), 2)
    for (name, weight), twin, stranger in zip(
        one.named_parameters(), same.parameters(), other.parameters(), strict=True
    ):
        assert torch.equal(weight, twin)
        assert (weight.dim() == 1) == torch.equal(weight, stranger), name
    deeper = ready(small(layers=3), 1)
    assert torch.equal(deeper.model.layers[0].self_attn.q_proj.weight, one.model.layers[0].self_attn.q_proj.weight)
    assert one.model.embed_tokens.weight.std().item() == pytest.approx(0.02, rel=0.1)
    assert one.model.layers[1].mlp.down_proj.weight.std().item() == pytest.approx(0.01, rel=0.1)


def test_first_loss() -> None:
    """Before it has learnt anything, every token is about as likely as any other."""
    tokens = torch.randint(0, 97, (4, 25))
    assert ready(small())(tokens[:, :-1], tokens[:, 1:]).item() == pytest.approx(math.log(97), rel=0.01)


def test_tied() -> None:
    """The head is the embedding, also after the weights were laid somewhere else."""
    model = ready(small())
    assert model.lm_head.weight is model.model.embed_tokens.weight
    assert sorted(set(model.state_dict()) - {name for name, _ in model.named_parameters()}) == ["lm_head.weight"]
    free = ready(small(tied=False))
    assert free.lm_head.weight is not free.model.embed_tokens.weight


def test_causal() -> None:
    """What comes later changes nothing of what came before."""
    model = ready(small())
    tokens = torch.randint(0, 97, (1, 16))
    changed = tokens.clone()
    changed[0, 10:] = (changed[0, 10:] + 1) % 97
    before, after = model(tokens)[0], model(changed)[0]
    torch.testing.assert_close(before[:10], after[:10])
    assert not torch.allclose(before[10:], after[10:])


def test_left_out() -> None:
    """Targets that are left out count for nothing, in the mean as in the sum."""
    model = ready(small())
    tokens = torch.randint(0, 97, (2, 9))
    targets = tokens[:, 1:].clone()
    targets[1] = LEFT_OUT
    whole = model(tokens[:1, :-1], tokens[:1, 1:])
    torch.testing.assert_close(model(tokens[:, :-1], targets), whole)
    torch.testing.assert_close(model(tokens[:, :-1], targets, "sum"), 8 * whole)


def test_dropout() -> None:
    """Dropout changes what is learnt from, and not what is said."""
    model = ready(small(dropout=0.5))
    tokens = torch.randint(0, 97, (2, 8))
    assert not torch.equal(model(tokens), model(tokens))
    model.eval()
    plain = ready(small()).eval()
    assert torch.equal(model(tokens), model(tokens))
    assert torch.equal(model(tokens), plain(tokens))


def test_loss_in_pieces() -> None:
    """The loss that never holds all logits is the same, and so are its gradients."""
    model = ready(small())
    tokens = torch.randint(0, 97, (4, 17))
    found = []
    for compute in (loss, partial(loss_in_pieces, rows=7)):
        hidden = model.model(tokens[:, :-1]).detach().requires_grad_()
        weight = model.lm_head.weight.detach().clone().requires_grad_()
        made = compute(hidden, weight, tokens[:, 1:], "mean")
        made.backward()
        found.append((made.detach(), hidden.grad, weight.grad))
    torch.testing.assert_close(found[1], found[0], atol=1e-6, rtol=1e-4)


def test_flops() -> None:
    """Operations a token are six a weight and those of attention, as PaLM's authors count them."""
    recipe = named("gpt2", 50_304).model
    per_token = built(recipe).flops_per_token(1024)
    assert per_token == pytest.approx(6 * 124e6 + 12 * 12 * 768 * 1024, rel=0.01)
