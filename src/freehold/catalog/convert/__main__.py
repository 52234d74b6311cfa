"""`python -m freehold.catalog.convert IN_DIR OUT.gguf [--dtype f16|bf16|f32]`: safetensors to GGUF.

Tells its progress on stdout, one line `Progress <bytes> of <bytes>` after each tensor. Ends with status 3 and
a reason on stderr for a model that it cannot convert.
"""

import argparse
import sys
from pathlib import Path

from gguf import GGMLQuantizationType, GGUFWriter

from freehold.catalog.conversion import UNSUPPORTED
from freehold.catalog.convert.bert import BertModel
from freehold.catalog.convert.checkpoint import Checkpoint
from freehold.catalog.convert.llama import LlamaModel
from freehold.catalog.convert.tensors import DTYPES, OutTensor, as_type
from freehold.errors import CatalogError, UnsupportedModelFormat


def main() -> int:
    """Convert; returns the exit status."""
    parser = argparse.ArgumentParser(prog="python -m freehold.catalog.convert", description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("target", type=Path)
    parser.add_argument("--dtype", choices=sorted(DTYPES), default="f16")
    arguments = parser.parse_args()
    try:
        convert(arguments.folder, arguments.target, arguments.dtype)
    except CatalogError as exc:
        arguments.target.unlink(missing_ok=True)
        sys.stderr.write(f"{exc.message}\n")
        return UNSUPPORTED
    return 0


def convert(folder: Path, target: Path, dtype: str) -> None:
    """Write a model as GGUF, one tensor at a time, so that a model larger than the memory can be converted.

    Args:
        folder: config.json, tokenizer.json and the safetensors files.
        target: the file to write.
        dtype: what matrices are stored as; vectors, and matrices with values over float16's range, are float32.

    Raises:
        UnsupportedModelFormat: the model cannot be converted.
    """
    checkpoint = Checkpoint.open(folder)
    model = _model(checkpoint)
    writer = GGUFWriter(target, model.architecture)
    model.write_metadata(writer)
    writer.add_file_type(DTYPES[dtype].file_type)
    writer.add_quantization_version(2)
    chosen: list[tuple[OutTensor, GGMLQuantizationType]] = []
    for tensor in model.tensors():
        kind = tensor.stored_as(DTYPES[dtype].tensor_type)
        chosen.append((tensor, kind))
        sample = as_type(tensor.load()[:0], kind)
        writer.add_tensor_info(
            tensor.name, tensor.shape, sample.dtype, tensor.elements * sample.dtype.itemsize, raw_dtype=kind
        )
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_ti_data_to_file()
    total = sum(tensor.elements for tensor, _ in chosen)
    done = 0
    for tensor, kind in chosen:
        writer.write_tensor_data(as_type(tensor.load(), kind))
        done += tensor.elements
        sys.stdout.write(f"Progress {done} of {total}\n")
        sys.stdout.flush()
    writer.close()


def _model(checkpoint: Checkpoint) -> BertModel | LlamaModel:
    """The architecture that `config.json` names."""
    names: list[str] = checkpoint.config.get("architectures") or []
    if any(name in {"BertModel", "BertForMaskedLM"} for name in names):
        return BertModel(checkpoint)
    if "LlamaForCausalLM" in names:
        return LlamaModel(checkpoint)
    raise UnsupportedModelFormat(f"Models of the architecture {', '.join(names) or 'none'} are not converted.")


if __name__ == "__main__":
    sys.exit(main())
