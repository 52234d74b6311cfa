import pytest
import torch
from torch import Tensor
from torch.nn import functional

from freehold.training.language import processor
from freehold.training.language.model import rotation

pytestmark = pytest.mark.torch


def test_normalised_vectors_and_their_gradients() -> None:
    """RMSNorm in few passes gives the numbers and gradients of PyTorch's own."""
    torch.manual_seed(1)
    vectors, weight = torch.randn(3, 5, 8, requires_grad=True), torch.randn(8, requires_grad=True)
    plain = functional.rms_norm(vectors, (8,), weight, 1e-5)
    quick = processor.Normalised.apply(vectors, weight, 1e-5)
    assert_alike(quick, plain, (vectors, weight))


def test_turned_vectors_and_their_gradients() -> None:
    """Rotary positions in few passes give the numbers and gradients of the plain formula, for heads as they lie."""
    torch.manual_seed(2)
    vectors = torch.randn(2, 5, 3, 8).transpose(1, 2).requires_grad_()
    cosine, sine = rotation(5, 8, 10_000.0, vectors.device, vectors.dtype)
    first, second = vectors.chunk(2, dim=-1)
    plain = torch.cat((first * cosine - second * sine, second * cosine + first * sine), dim=-1)
    assert_alike(processor.Rotated.apply(vectors, cosine, sine), plain, (vectors,))


def test_attention_is_computed_in_float32() -> None:
    """Attention of bfloat16 vectors is that of the same vectors in float32, though bfloat16 is asked for."""
    torch.manual_seed(3)
    vectors = [torch.randn(2, 3, 5, 8).bfloat16() for _ in range(3)]
    with torch.autocast("cpu", torch.bfloat16):
        found = processor.attended(*vectors, is_causal=True)
    expected = functional.scaled_dot_product_attention(*(each.float() for each in vectors), is_causal=True)
    assert found.dtype == torch.float32
    assert torch.equal(found, expected)


def test_only_plain_tensors_in_float32_are_served() -> None:
    """Other numbers, and tensors of other kinds, take the plain way."""
    assert processor.wanted(torch.ones(1))
    assert not processor.wanted(torch.ones(1).bfloat16())
    assert not processor.wanted(torch.ones(1, device="meta"))


def assert_alike(quick: Tensor, plain: Tensor, inputs: tuple[Tensor, ...]) -> None:
    """Two results are equal to rounding, and so are their gradients."""
    assert torch.allclose(quick, plain, rtol=1e-5, atol=1e-5)
    gradient = torch.randn_like(plain)
    for one, other in zip(
        torch.autograd.grad(quick, inputs, gradient), torch.autograd.grad(plain, inputs, gradient), strict=True
    ):
        assert torch.allclose(one, other, rtol=1e-5, atol=1e-5)
