"""BERT-style embedding models: BertModel with a WordPiece vocabulary, as sentence-transformers publishes them."""

from collections.abc import Iterator

from gguf import GGUFWriter, PoolingType

from freehold.catalog.convert.checkpoint import Checkpoint
from freehold.catalog.convert.tensors import OutTensor
from freehold.catalog.convert.wordpiece import read_wordpiece
from freehold.errors import UnsupportedModelFormat

_EMBEDDINGS = {
    "embeddings.word_embeddings.weight": "token_embd.weight",
    "embeddings.position_embeddings.weight": "position_embd.weight",
    "embeddings.token_type_embeddings.weight": "token_types.weight",
    "embeddings.LayerNorm.weight": "token_embd_norm.weight",
    "embeddings.LayerNorm.bias": "token_embd_norm.bias",
}
_LAYER = {
    "attention.self.query": "attn_q",
    "attention.self.key": "attn_k",
    "attention.self.value": "attn_v",
    "attention.output.dense": "attn_output",
    "attention.output.LayerNorm": "attn_output_norm",
    "intermediate.dense": "ffn_up",
    "output.dense": "ffn_down",
    "output.LayerNorm": "layer_output_norm",
}
_EXACT = {"position_embd.weight", "token_types.weight"}


class BertModel:
    """Writes a BERT encoder. The pooler and the heads for other tasks are left out.

    Args:
        checkpoint: the model.

    Raises:
        UnsupportedModelFormat: it has a part that the engine has not.
    """

    architecture = "bert"

    def __init__(self, checkpoint: Checkpoint) -> None:
        self._checkpoint = checkpoint
        self._vocabulary = read_wordpiece(checkpoint)
        kind = checkpoint.config.get("position_embedding_type", "absolute")
        if kind != "absolute":
            raise UnsupportedModelFormat(f"BERT models with {kind} position embeddings are not converted.")
        if checkpoint.config.get("hidden_act", "gelu") != "gelu":
            raise UnsupportedModelFormat("BERT models are converted with the activation gelu only.")
        self._prefix = "" if "embeddings.word_embeddings.weight" in checkpoint.stored else "bert."

    def write_metadata(self, writer: GGUFWriter) -> None:
        """Write the sizes, the pooling and the vocabulary."""
        get = self._checkpoint.number
        writer.add_context_length(get("max_position_embeddings"))
        writer.add_embedding_length(get("hidden_size"))
        writer.add_feed_forward_length(get("intermediate_size"))
        writer.add_block_count(get("num_hidden_layers"))
        writer.add_head_count(get("num_attention_heads"))
        writer.add_layer_norm_eps(get("layer_norm_eps"))
        writer.add_causal_attention(value=False)
        writer.add_pooling_type(self._pooling())
        writer.add_token_type_count(get("type_vocab_size"))
        self._vocabulary.write(writer)

    def tensors(self) -> Iterator[OutTensor]:
        """Every tensor of the encoder."""
        for name, out_name in _EMBEDDINGS.items():
            yield self._checkpoint.tensor(self._prefix + name, out_name, exact=out_name in _EXACT)
        for layer in range(self._checkpoint.number("num_hidden_layers")):
            for name, out_name in _LAYER.items():
                for part in ("weight", "bias"):
                    yield self._checkpoint.tensor(
                        f"{self._prefix}encoder.layer.{layer}.{name}.{part}", f"blk.{layer}.{out_name}.{part}"
                    )

    def _pooling(self) -> PoolingType:
        """How token vectors become one: as 1_Pooling/config.json says; the mean without it."""
        pooling = self._checkpoint.json("1_Pooling/config.json")
        modes = {name for name, value in pooling.items() if name.startswith("pooling_mode_") and value is True}
        if not modes or modes == {"pooling_mode_mean_tokens"}:
            return PoolingType.MEAN
        if modes == {"pooling_mode_cls_token"}:
            return PoolingType.CLS
        raise UnsupportedModelFormat(f"The pooling {', '.join(sorted(modes))} is not one that the engine has.")
