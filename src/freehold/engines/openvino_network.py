"""The network of a GGUF file, as OpenVINO computes it: transformers of the kind of Llama, Qwen 2 and Qwen 3.

The library has a reader of its own, with a product for each of a layer's matrices. Here those that read the same
numbers (queries, keys and values; and the two of the feed-forward part) are one product each: the same results, and for
one answer at a time, where beginning and ending a product cost as much as the product, an eighth of the time less.
Written for the library's paged attention, which takes the place of the attention here and of its mask.
Sources: the architectures in llama.cpp's `src/models`, and OpenVINO's operations (`opset13`).
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, TypeAlias

import numpy as np

from freehold.engines.gguf_header import read_metadata
from freehold.engines.openvino_form import Form
from freehold.engines.openvino_runtime import openvino
from freehold.engines.openvino_weights import Array, Matrix, WeightsFile, stacked

Node: TypeAlias = Any
"""An operation or one of its outputs."""
ops: Final = openvino.opset13
HIDDEN: Final = -65504.0
"""What is added to the likelihood of a place that is not to be read."""


@dataclass(frozen=True, slots=True)
class _Inputs:
    """What a network is given, and what all its layers share."""

    parameters: tuple[Node, ...]
    batch: Node
    beams: Node
    mask: Node
    cosine: Node
    sine: Node


def write_network(path: Path, folder: Path) -> None:
    """Write the network of a GGUF file, as `openvino_model.xml` and `.bin`.

    Args:
        path: of a file that `openvino_formats` does not refuse.
        folder: where.

    Raises:
        ValueError, OSError: the file cannot be read, or the network cannot be written.
    """
    openvino.save_model(_network(path), folder / "openvino_model.xml", compress_to_fp16=False)


def _network(path: Path) -> Any:
    weights, form = WeightsFile(path), Form.of(read_metadata(path))
    embeddings = _constant(weights.matrix("token_embd.weight"))
    inputs, tokens = _inputs(form)
    stream = ops.gather(embeddings, tokens, _whole(0))
    sinks: list[Node] = []
    for number in range(form.layers):
        layer = _Layer(weights, form, inputs, f"blk.{number}.")
        stream = ops.add(stream, layer.attention(_norm(stream, layer.vector("attn_norm"), form), sinks, number))
        stream = ops.add(stream, layer.forward(_norm(stream, layer.vector("ffn_norm"), form)))
    head = _constant(weights.matrix("output.weight")) if "output.weight" in weights else embeddings
    logits = _product(_norm(stream, weights.vector("output_norm.weight"), form), head)
    logits.output(0).set_names({"logits"})
    return openvino.Model([ops.result(logits)], sinks, list(inputs.parameters), "network")


def _inputs(form: Form) -> tuple[_Inputs, Node]:
    """The parameters by the names that the library knows, and the tokens."""
    named = {}
    for name, shape in {"input_ids": [-1, -1], "attention_mask": [-1, -1], "position_ids": [-1, -1]}.items():
        named[name] = ops.parameter(shape, np.int64, name=name)
    named["beam_idx"] = ops.parameter([-1], np.int32, name="beam_idx")
    for name, parameter in named.items():
        parameter.output(0).set_names({name})
    tokens = ops.convert(named["input_ids"], "i32")
    batch = ops.gather(ops.shape_of(named["input_ids"]), ops.constant(np.array([0])), _whole(0))
    away = ops.subtract(ops.constant(np.float32(1)), ops.convert(named["attention_mask"], "f32"))
    mask = ops.unsqueeze(ops.multiply(away, ops.constant(np.float32(HIDDEN))), ops.constant(np.array([1, 2])))
    steps = np.arange(form.size // 2, dtype=np.float64) * 2 / form.size
    speeds = ops.constant((1.0 / form.base**steps).astype(np.float32).reshape(1, -1, 1))
    one = ops.constant(np.array([1]))
    speeds = ops.broadcast(speeds, ops.concat([batch, one, one], 0), broadcast_spec="BIDIRECTIONAL")
    places = ops.convert(ops.unsqueeze(named["position_ids"], _whole(1)), "f32")
    angles = ops.transpose(ops.matmul(speeds, places, False, False), ops.constant(np.array([0, 2, 1])))
    angles = ops.concat([angles, angles], -1)
    cosine, sine = (ops.unsqueeze(made(angles), _whole(1)) for made in (ops.cos, ops.sin))
    return _Inputs(tuple(named.values()), batch, named["beam_idx"], mask, cosine, sine), tokens


class _Layer:
    """One layer.

    Args:
        weights: the file's.
        form: the network's.
        inputs: what all layers share.
        prefix: of the layer's tensors.
    """

    def __init__(self, weights: WeightsFile, form: Form, inputs: _Inputs, prefix: str) -> None:
        self._weights, self._form, self._inputs, self._prefix = weights, form, inputs, prefix

    def vector(self, name: str) -> Array:
        """One of the layer's vectors."""
        return self._weights.vector(f"{self._prefix}{name}.weight")

    def attention(self, stream: Node, sinks: list[Node], number: int) -> Node:
        """What the layer reads from the places before; what it keeps of this one goes into `sinks`."""
        form = self._form
        parts = self._products(stream, {"attn_q": form.heads, "attn_k": form.pairs, "attn_v": 0})
        queries = self._turned(self._heads(parts[0], form.heads, "attn_q_norm"))
        keys = self._turned(self._heads(parts[1], form.pairs, "attn_k_norm"))
        kept = []
        for kind, new in (("key", keys), ("value", self._heads(parts[2], form.pairs))):
            name = f"past_key_values.{number}.{kind}present.{number}.{kind}"
            before, shape = self._before(name)
            whole = ops.concat([before, new], 2)
            sinks.append(ops.assign(whole, name))
            kept.append(self._repeated(whole, shape))
        read = ops.scaled_dot_product_attention(queries, *kept, self._inputs.mask)
        read = ops.transpose(read, ops.constant(np.array([0, 2, 1, 3])))
        read = ops.reshape(read, ops.constant(np.array([0, 0, form.heads * form.size])), True)
        return self._products(read, {"attn_output": 0})[0]

    def forward(self, stream: Node) -> Node:
        """What the layer makes of one place."""
        gate, up = self._products(stream, {"ffn_gate": 0, "ffn_up": 0})
        return self._products(ops.multiply(ops.swish(gate), up), {"ffn_down": 0})[0]

    def _products(self, stream: Node, names: Mapping[str, int]) -> Sequence[Node]:
        """Products of the same numbers with several matrices, as one product where those are of one kind.

        Args:
            stream: the numbers.
            names: of the matrices, each with its heads whose halves may be in turn.
        """
        found = [self._weights.matrix(f"{self._prefix}{name}.weight") for name in names]
        biases = [self._bias(name, matrix.rows) for name, matrix in zip(names, found, strict=True)]
        orders = [self._order(heads, matrix.rows) for heads, matrix in zip(names.values(), found, strict=True)]
        found = [matrix if order is None else matrix.picked(order) for matrix, order in zip(found, orders, strict=True)]
        biases = [
            bias if order is None or bias is None else bias[order] for bias, order in zip(biases, orders, strict=True)
        ]
        together = stacked(found) if len(found) > 1 else None
        if together is None:
            products = [_product(stream, _constant(matrix)) for matrix in found]
            pairs = zip(products, biases, strict=True)
            return [product if bias is None else ops.add(product, ops.constant(bias)) for product, bias in pairs]
        product = _product(stream, _constant(together))
        if any(bias is not None for bias in biases):
            rows = [matrix.rows for matrix in found]
            filled = [np.zeros(n, np.float32) if b is None else b for n, b in zip(rows, biases, strict=True)]
            product = ops.add(product, ops.constant(np.concatenate(filled)))
        lengths = ops.constant(np.array([matrix.rows for matrix in found]))
        return list(ops.variadic_split(product, _whole(-1), lengths).outputs())

    def _bias(self, name: str, rows: int) -> Array | None:
        full = f"{self._prefix}{name}.bias"
        if full not in self._weights:
            return None
        bias = self._weights.vector(full)
        if bias.shape != (rows,):
            raise ValueError(f"its tensor '{full}' has another length than what it is added to")
        return bias

    def _order(self, heads: int, rows: int) -> Array | None:
        """In which order rows make heads whose halves are behind each other; None where they do already."""
        if not heads or not self._form.interleaved:
            return None
        return np.arange(rows).reshape(heads, -1, 2).swapaxes(1, 2).reshape(-1)

    def _heads(self, numbers: Node, heads: int, norm: str | None = None) -> Node:
        """Numbers by heads: batch, heads, places, size."""
        split = ops.reshape(numbers, ops.constant(np.array([0, 0, heads, self._form.size])), True)
        if norm is not None and f"{self._prefix}{norm}.weight" in self._weights:
            split = _norm(split, self.vector(norm), self._form)
        return ops.transpose(split, ops.constant(np.array([0, 2, 1, 3])))

    def _turned(self, heads: Node) -> Node:
        """Heads turned by the angles of their places."""
        half, axis, step = self._form.size // 2, ops.constant(np.array([3])), ops.constant(np.array([1]))
        middle, last = ops.constant(np.array([half])), ops.constant(np.array([np.iinfo(np.int64).max]))
        second = ops.multiply(ops.slice(heads, middle, last, step, axis), ops.constant(np.full((1,) * 4, -1, "f4")))
        first = ops.slice(heads, ops.constant(np.array([0])), middle, step, axis)
        across = ops.multiply(ops.concat([second, first], -1), self._inputs.sine)
        return ops.add(ops.multiply(heads, self._inputs.cosine), across)

    def _before(self, name: str) -> tuple[Node, Sequence[Node]]:
        """Keys or values of the places before, and the batch's size with the numbers of heads and of their numbers."""
        pairs, size = (ops.constant(np.array([n])) for n in (self._form.pairs, self._form.size))
        shape = ops.concat([self._inputs.batch, pairs, ops.constant(np.array([0])), size], 0)
        empty = ops.broadcast(ops.constant(np.float32(0)), shape)
        kept = ops.read_value(
            empty, name, openvino.Type.f32, openvino.PartialShape([-1, self._form.pairs, -1, self._form.size])
        )
        return ops.gather(kept, self._inputs.beams, _whole(0)), (self._inputs.batch, pairs, size)

    def _repeated(self, heads: Node, shape: Sequence[Node]) -> Node:
        """Heads of keys or values, each as often as there are heads of queries that read it."""
        form, (batch, pairs, size) = self._form, shape
        times = form.heads // form.pairs
        if times == 1:
            return heads
        one, repeats = ops.constant(np.array([1])), ops.constant(np.array([times]))
        wanted = ops.concat([batch, pairs, repeats, one, size], 0)
        spread = ops.broadcast(ops.unsqueeze(heads, _whole(2)), wanted, broadcast_spec="BIDIRECTIONAL")
        return ops.reshape(spread, ops.constant(np.array([0, form.heads, -1, form.size])), True)


def _whole(number: int) -> Node:
    return ops.constant(np.int64(number))


def _norm(stream: Node, weights: Array, form: Form) -> Node:
    """Numbers by the root of their mean square, times weights."""
    ones = (1,) * 3
    square = ops.power(stream, ops.constant(np.full(ones, 2, "f4")))
    mean = ops.reduce_mean(square, ops.constant(np.array([-1])), True)
    root = ops.sqrt(ops.add(mean, ops.constant(np.full(ones, form.epsilon, "f4"))))
    scaled = ops.multiply(ops.divide(ops.constant(np.ones(ones, "f4")), root), stream)
    return ops.multiply(scaled, ops.constant(weights.reshape(1, 1, -1)))


def _product(stream: Node, matrix: Node) -> Node:
    return ops.matmul(stream, matrix, False, True)


def _constant(matrix: Matrix) -> Node:
    """A matrix as a constant that is taken apart only within products."""
    if matrix.scales is None:
        numbers = ops.constant(np.ascontiguousarray(matrix.numbers))
        return numbers if matrix.bits == 32 else ops.convert(numbers, "f32")
    whole = ops.convert(_packed(matrix), "f16")
    scaled = ops.multiply(whole, ops.constant(np.ascontiguousarray(matrix.scales)))
    shaped = ops.reshape(scaled, ops.constant(np.array([matrix.rows, matrix.columns])), False)
    return ops.convert(shaped, "f32")


def _packed(matrix: Matrix) -> Node:
    """Whole numbers; those of four bits two to a byte, the first one in its lower half."""
    if matrix.bits == 8:
        return ops.constant(matrix.numbers)
    flat = matrix.numbers.reshape(-1).view(np.uint8) & 0x0F
    halves = flat[0::2] | (flat[1::2] << 4)
    shape = openvino.Shape(list(matrix.numbers.shape))
    tensor = openvino.Tensor(halves, shape, openvino.Type.i4)
    return openvino.op.Constant(tensor, shared_memory=False)  # the array is gone when this returns
