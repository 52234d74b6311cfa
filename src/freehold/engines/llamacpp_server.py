"""The process of the `llamacpp` engine: llama.cpp's own HTTP server on a Unix socket.

Run as `python -m freehold.engines.llamacpp_server --spec JSON`. The only file that imports xllamacpp: native code
stays in a process of its own. Ends at once on SIGTERM, and when the process that started it is gone. Exits with
status 1 and one line on stderr where the model cannot be served.
"""

import argparse
import json
import os
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import xllamacpp

from freehold.engines.cores import physical_cores
from freehold.engines.gguf_header import read_metadata
from freehold.engines.model_defaults import chat_template, default_context
from freehold.engines.parent import follow_parent

LOG_FLUSH_S = 0.25
SOCKET_SUFFIX = ".sock"
"""By which llama.cpp tells a Unix socket from a host name."""
WARNINGS = 1
"""llama.cpp's verbosity: errors and, above them, warnings."""


def main() -> None:
    """Load the model and serve until the process is ended."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--spec", required=True, help="what to serve, as JSON")
    spec = json.loads(parser.parse_args().spec)
    follow_parent()
    socket = Path(spec["socket"])
    bound = socket if socket.suffix == SOCKET_SUFFIX else socket.with_name(socket.name + SOCKET_SUFFIX)
    try:
        bound.unlink(missing_ok=True)
        params = parameters(spec | {"socket": str(bound)})
        server = xllamacpp.Server(params)
        bound.replace(socket)
    except (RuntimeError, ValueError, OSError) as exc:
        reason = " ".join(str(exc).split()) or type(exc).__name__
        time.sleep(LOG_FLUSH_S)  # llama.cpp writes its log from a thread; the reason is to be the last line
        sys.stderr.write(f"the model cannot be served: {reason}\n")
        sys.stderr.flush()
        os._exit(1)  # native threads may be left, and would keep the process
    while server is not None:
        time.sleep(3600)


def parameters(spec: Mapping[str, Any]) -> xllamacpp.CommonParams:
    """llama.cpp's parameters for a spec: socket, model, adapter, task, parallel, context_length and options.

    Raises:
        ValueError: the model file or an option cannot be used.
        OSError: a file cannot be read.
    """
    options, parallel = spec["options"], spec["parallel"]
    metadata = read_metadata(Path(spec["model"]))
    context = spec["context_length"] or default_context(metadata, parallel)
    params = xllamacpp.CommonParams()
    params.model.path = spec["model"]
    params.hostnames = [spec["socket"]]
    params.port = 0
    params.n_threads_http = 4 * parallel + 16  # kept connections hold a thread each, and probes need one
    params.ui = False
    params.cors_origins = "null"
    params.endpoint_metrics = True
    params.endpoint_slots = True
    params.verbosity = WARNINGS
    params.warmup = False
    params.ctx_shift = False
    params.n_parallel = parallel
    params.n_ctx = context * parallel
    params.fit_params = options.get("gpu_layers") is not None
    params.cpuparams.n_threads = params.cpuparams_batch.n_threads = options.get("threads") or physical_cores()
    params.n_batch = params.n_ubatch = options.get("batch_size") or 512
    params.cache_ram_mib = options.get("cache_ram_mib", 1024)
    _place(params, options)
    _adapt(params, spec.get("adapter"), options.get("lora", []))
    if spec["task"] == "embeddings":
        params.embedding = True
        params.n_batch = params.n_ubatch = max(context, params.n_batch)  # an input is read in one piece
        if "pooling" in options:
            params.pooling_type = xllamacpp.llama_pooling_type[f"LLAMA_POOLING_TYPE_{options['pooling'].upper()}"]
    else:
        params.use_jinja = True
        params.chat_template = chat_template(metadata.get("tokenizer.chat_template", ""), options.get("chat_template"))
        if "mmproj" in options:
            params.mmproj.path = options["mmproj"]
    return params


def _place(params: xllamacpp.CommonParams, options: Mapping[str, Any]) -> None:
    """Set the options about where and how the weights and the cache are kept."""
    if "gpu_layers" in options:
        params.n_gpu_layers = options["gpu_layers"]
    if "flash_attention" in options:
        word = "ENABLED" if options["flash_attention"] else "DISABLED"
        params.flash_attn_type = xllamacpp.llama_flash_attn_type[f"LLAMA_FLASH_ATTN_TYPE_{word}"]
    for name in ("cache_type_k", "cache_type_v"):
        if name in options:
            setattr(params, name, xllamacpp.ggml_type[f"GGML_TYPE_{options[name].upper()}"])
    if options.get("mlock"):
        params.load_mode = xllamacpp.llama_load_mode.LLAMA_LOAD_MODE_MMAP_MLOCK


def _adapt(params: xllamacpp.CommonParams, own: str | None, more: Sequence[Mapping[str, Any]]) -> None:
    """Load adapters beside the weights: the model's own, and those of the deployment's options."""
    adapters = []
    for entry in [*([{"path": own}] if own is not None else []), *more]:
        adapter = xllamacpp.CommonAdapterLoraInfo()
        adapter.path, adapter.scale = entry["path"], entry.get("scale", 1.0)
        adapters.append(adapter)
    if adapters:
        params.lora_adapters = adapters


if __name__ == "__main__":
    main()
