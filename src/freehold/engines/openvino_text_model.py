"""A language model as OpenVINO GenAI loads it: pipeline, tokenizer, chat template, and the place for keys and values.

    a file of GGUF                     turned into a network among temporary files at each start: `openvino_network`
    a folder of an exported model      openvino_model.xml, openvino_tokenizer.xml, openvino_detokenizer.xml, config.json

The tokenizer of a GGUF file is made by the library, which gets the file's metadata alone, under a name of a GGUF file:
by that it tells formats, and it would read all tensors as well.
"""

import hashlib
import json
import re
import shutil
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np

from freehold.engines.chat_template import ChatTemplate
from freehold.engines.gguf_header import read_metadata, without_tensors
from freehold.engines.model_defaults import chat_template
from freehold.engines.openvino_answer import THINK, THOUGHT, Sampling
from freehold.engines.openvino_formats import BLOCK_TOKENS, refusal, shape_of
from freehold.engines.openvino_genai import openvino_genai
from freehold.engines.openvino_network import write_network
from freehold.engines.openvino_runtime import openvino
from freehold.engines.openvino_weights import network_bytes
from freehold.engines.scratch import scratch_folder
from freehold.engines.token_text import Vocabulary, read_vocabulary
from freehold.engines.tool_calls import CLOSER, OPENER

DEFAULT_PRECISION: Final = "f32"
DEFAULT_CACHE_PRECISION: Final = "u8"
EXACT: Final = "exact"
"""Of the option `activations`: what goes into the weights is not rounded to eight bits."""
DEFAULT_CACHE_GIB: Final = 1.0
DEFAULT_BATCH_TOKENS: Final = 256
DEFAULT_CONTEXT: Final = 8192
"""Tokens of a request where the deployment does not say and the model was trained for more."""
LEAST_CONTEXT: Final = 16
SHORT_TEXT: Final = 8192
"""The library's tokenizers of GGUF cut a text after so many tokens; one of so many bytes is never cut."""
ENDS: Final = frozenset(
    {
        *("<|endoftext|>", "<|im_end|>", "<|end_of_text|>", "<|eot_id|>", "<|eom_id|>", "<|end|>", "<|return|>"),
        *("</s>", "<end_of_turn>", "<|end_of_sentence|>", "<EOT>", "<|eot|>"),
    }
)
"""Tokens that end an answer, whichever of them a model names as its own; as llama.cpp knows them."""
SHOWN: Final = frozenset({OPENER, CLOSER, THINK, THOUGHT})
"""Special tokens that are text all the same, because an answer is read by them."""
TRIAL: Final = "Hello wörld, 12 + 34!\n\t日本 🎉 it's"
_BETWEEN_WORDS: Final = re.compile(r"(?<=[A-Za-z]) (?=[A-Za-z])")
"""Where a text can be cut without changing its tokens: all the ways to split text into words split here."""


class UnusableModel(ValueError):
    """The model cannot be served; says why."""


@dataclass(frozen=True, slots=True)
class TextModel:
    """A model, ready to write.

    Args:
        pipeline: the library's; of one thread at a time.
        tokenizer: the library's.
        vocabulary: what tokens stand for.
        template: of conversations; None where the model has none.
        template_source: its text.
        bos: the token that a text begins with, where the model wants one and the tokenizer puts none.
        context_length: tokens of prompt and answer together.
        cache_tokens: tokens of all requests together whose keys and values there is room for.
    """

    pipeline: Any
    tokenizer: Any
    vocabulary: Vocabulary
    template: ChatTemplate | None
    template_source: str
    bos: int | None
    context_length: int
    cache_tokens: int

    def encode(self, text: str, *, whole: bool = False) -> list[int]:
        """The tokens of a text; `whole` with those that the model wants before one that begins."""
        ids: list[int] = []
        for piece in _pieces(text):
            ids += self._encoded(piece, special=whole and not ids)
        if whole and self.bos is not None and ids[:1] != [self.bos]:
            ids.insert(0, self.bos)
        return ids

    def begin(
        self, number: int, prompt: Sequence[int], sampling: Sampling, limit: int, grammar: str | None, turn: int
    ) -> Any:
        """Put a request into the pipeline; its handle.

        Args:
            number: names the request.
            prompt: token ids.
            sampling: how tokens are chosen.
            limit: the most tokens.
            grammar: what the answer must be.
            turn: how often the answer was begun before; another seed each time.
        """
        config = openvino_genai.GenerationConfig(max_new_tokens=limit, apply_chat_template=False)
        config.do_sample = sampling.temperature > 0 and sampling.top_p > 0
        if config.do_sample:
            config.temperature, config.top_p = sampling.temperature, sampling.top_p
            config.rng_seed = (sampling.seed + turn) & 0xFFFFFFFF
        config.frequency_penalty, config.presence_penalty = sampling.frequency_penalty, sampling.presence_penalty
        config.logprobs = int(sampling.logprobs)
        config.stop_token_ids = set(self.vocabulary.ends)
        if grammar is not None:
            config.structured_output_config = openvino_genai.StructuredOutputConfig(grammar=grammar)
        return self.pipeline.add_request(number, openvino.Tensor(np.array([prompt], np.int64)), config)

    def _encoded(self, text: str, *, special: bool) -> list[int]:
        found = self.tokenizer.encode(text, add_special_tokens=special).input_ids.data[0].tolist()
        if len(found) < SHORT_TEXT or len(text) < 2:
            return list(found)
        middle = len(text) // 2  # it may have been cut, and has no place between words
        return [*self._encoded(text[:middle], special=special), *self._encoded(text[middle:], special=False)]


def load(path: Path, options: Mapping[str, Any], *, context_length: int | None, parallel: int) -> TextModel:
    """Load a model.

    Args:
        path: the file or the folder.
        options: the deployment's.
        context_length: the deployment's; None for as much as the model was trained for and there is room for.
        parallel: requests at once.

    Raises:
        UnusableModel: it cannot be read, or does not fit the options.
    """
    try:
        with readable(path) as (network, words):
            precision = options.get("kv_cache_precision", DEFAULT_CACHE_PRECISION)
            context, blocks = _room(path, options, context_length, precision)
            tokenizer = openvino_genai.Tokenizer(str(words))
            pipeline = compiled(network, tokenizer, options, blocks=blocks, parallel=parallel)
        source, tokens, bos = _words(path, tokenizer)
        source = chat_template(source, options.get("chat_template")) or source
        template = ChatTemplate(source, tokens) if source else None
        vocabulary = _vocabulary(tokenizer)
    except (OSError, ValueError, RuntimeError) as exc:
        if isinstance(exc, UnusableModel):
            raise
        raise UnusableModel(str(exc) or type(exc).__name__) from exc
    return TextModel(pipeline, tokenizer, vocabulary, template, source, bos, context, blocks * BLOCK_TOKENS)


@contextmanager
def readable(path: Path) -> Iterator[tuple[Path, Path]]:
    """The folder of the model's network, and what the library makes its tokenizer of.

    Raises:
        UnusableModel: this engine cannot read it.
        ValueError: it cannot be read at all.
        OSError: likewise, or there is no room for its network.
    """
    reason = refusal(path)
    if reason is not None:
        raise UnusableModel(reason)
    if path.is_dir():
        yield path, path
        return
    with scratch_folder() as folder:
        if shutil.disk_usage(folder).free < network_bytes(path):
            raise UnusableModel("there is no room for its network among temporary files (TMPDIR)")
        write_network(path, folder)
        words = folder / "words.gguf"
        words.write_bytes(without_tensors(path))
        yield folder, words


def compiled(network: Path, tokenizer: Any, options: Mapping[str, Any], *, blocks: int, parallel: int) -> Any:
    """The library's pipeline.

    Args:
        network: the folder of the model's network.
        tokenizer: the library's.
        options: the deployment's.
        blocks: of keys and values.
        parallel: requests at once.
    """
    config = openvino_genai.SchedulerConfig()
    config.num_kv_blocks = blocks
    config.max_num_seqs = parallel
    config.max_num_batched_tokens = options.get("batch_tokens", DEFAULT_BATCH_TOKENS)
    config.enable_prefix_caching = options.get("prefix_cache", False)
    return openvino_genai.ContinuousBatchingPipeline(str(network), tokenizer, config, "CPU", **_properties(options))


def _room(path: Path, options: Mapping[str, Any], wanted: int | None, precision: str) -> tuple[int, int]:
    """How long a context is, and how many blocks of cache there are.

    Raises:
        UnusableModel: not even one context fits.
    """
    shape = shape_of(path)
    block = shape.block_bytes(precision)
    cache_gib = options.get("cache_gib", DEFAULT_CACHE_GIB)
    blocks = int(cache_gib * 1024**3) // block
    room = blocks * BLOCK_TOKENS
    context = min(shape.trained_context, DEFAULT_CONTEXT, room) if wanted is None else wanted
    least = max(context, LEAST_CONTEXT)
    if room < least:
        needed = -(-least // BLOCK_TOKENS) * block / 1024**3
        raise UnusableModel(
            f"options.cache_gib: {cache_gib} GiB is too little for one request of {least} tokens, "
            f"which needs {needed:.3f} GiB"
        )
    return context, blocks


def _properties(options: Mapping[str, Any]) -> dict[str, Any]:
    found: dict[str, Any] = {"KV_CACHE_PRECISION": options.get("kv_cache_precision", DEFAULT_CACHE_PRECISION)}
    precision = options.get("precision", DEFAULT_PRECISION)
    if precision != "auto":
        found["INFERENCE_PRECISION_HINT"] = precision
    if options.get("activations") == EXACT:
        found["DYNAMIC_QUANTIZATION_GROUP_SIZE"] = "0"
    if "threads" in options:
        found["INFERENCE_NUM_THREADS"] = options["threads"]
    return found


def _words(path: Path, tokenizer: Any) -> tuple[str, Mapping[str, str], int | None]:
    """The model's own chat template, the special tokens that it may name, and the token that texts begin with."""
    tokens = {"bos_token": tokenizer.get_bos_token(), "eos_token": tokenizer.get_eos_token()}
    if path.is_dir():
        return _folder_template(path) or tokenizer.get_original_chat_template(), tokens, None
    metadata = read_metadata(path)
    bos = metadata.get("tokenizer.ggml.bos_token_id") if metadata.get("tokenizer.ggml.add_bos_token") else None
    return metadata.get("tokenizer.chat_template", ""), tokens, bos


def _folder_template(path: Path) -> str:
    """The template that lies beside an exported model, which the library may have replaced by its own."""
    beside = path / "chat_template.jinja"
    if beside.is_file():
        return beside.read_text(encoding="utf-8")
    config = path / "tokenizer_config.json"
    found = json.loads(config.read_text(encoding="utf-8")).get("chat_template") if config.is_file() else None
    return found if isinstance(found, str) else ""


def _vocabulary(tokenizer: Any) -> Vocabulary:
    """What the tokens stand for.

    Raises:
        UnusableModel: the tokens of a text are not its pieces.
    """
    tokens: Mapping[bytes, int] = tokenizer.get_vocab()
    ids = sorted(tokens.values())
    rows = [[number] for number in ids]
    shown = tokenizer.decode(rows, skip_special_tokens=True)
    everything = tokenizer.decode(rows, skip_special_tokens=False)
    hidden = {number for number, text, whole in zip(ids, shown, everything, strict=True) if whole and not text}
    hidden -= {tokens[text.encode()] for text in SHOWN if text.encode() in tokens}
    ends = {tokenizer.get_eos_token_id(), *(tokens[t.encode()] for t in ENDS if tokens.get(t.encode()) in hidden)}
    vocabulary = read_vocabulary(tokens, hidden, ends)
    trial = tokenizer.encode(TRIAL, add_special_tokens=False).input_ids.data[0].tolist()
    if vocabulary.text(trial).strip() != TRIAL.strip():
        raise UnusableModel("its tokens are not pieces of the text; use the engine 'llamacpp' for it")
    return vocabulary


def _pieces(text: str) -> list[str]:
    """The text in pieces that are encoded each for itself, cut between words."""
    if len(text) * 4 <= SHORT_TEXT or len(text.encode(errors="replace")) <= SHORT_TEXT:
        return [text]
    pieces, begin = [], 0
    for found in _BETWEEN_WORDS.finditer(text):
        if found.start() - begin >= SHORT_TEXT // 4:
            pieces.append(text[begin : found.start()])
            begin = found.start()
    return [*pieces, text[begin:]]


def fingerprint(weights_sha256: str, options: Mapping[str, Any]) -> str:
    """Names the version of the library, the weights, and the options that change what is computed."""
    told = json.dumps(dict(options), sort_keys=True)
    text = f"openvino {openvino_genai.__version__} {weights_sha256} {told}"
    return f"fp_{hashlib.sha256(text.encode()).hexdigest()[:10]}"
