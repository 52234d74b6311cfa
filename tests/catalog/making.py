"""Small model files for the catalog's tests."""

import json
import struct
import zipfile
from pathlib import Path


def gguf_bytes(seed: int = 0, size: int = 4096) -> bytes:
    """A valid GGUF file with one tensor of `size` bytes."""

    def text(value: str) -> bytes:
        return struct.pack("<Q", len(value.encode())) + value.encode()

    entries = [
        text("general.architecture") + struct.pack("<I", 8) + text("llama"),
        text("llama.context_length") + struct.pack("<II", 4, 2048),
        text("general.license") + struct.pack("<I", 8) + text("mit"),
        text("general.file_type") + struct.pack("<II", 4, 0),
        text("test.seed") + struct.pack("<II", 4, seed),
        text("tokenizer.ggml.scores") + struct.pack("<IIQ", 9, 6, 100) + bytes(400),
    ]
    head = b"GGUF" + struct.pack("<IQQ", 3, 1, len(entries)) + b"".join(entries)
    head += text("token_embd.weight") + struct.pack("<IQIQ", 1, size // 4, 0, 0)
    head += bytes(-len(head) % 32)
    period = bytes((index * 31 + seed) % 251 for index in range(251))
    return head + (period * (size // 251 + 1))[:size]


def safetensors_bytes(header: dict[str, object] | None = None, data: bytes = bytes(16)) -> bytes:
    """A safetensors file; by default a valid one with one tensor of four float32."""
    if header is None:
        header = {"a": {"dtype": "F32", "shape": [4], "data_offsets": [0, 16]}}
    raw = json.dumps(header).encode()
    return struct.pack("<Q", len(raw)) + raw + data


def make_wheel(
    folder: Path, package: str, version: str, members: dict[str, bytes], links: tuple[str, ...] = ()
) -> Path:
    """A wheel that pip accepts; members in `links` are symbolic links."""
    folder.mkdir(parents=True, exist_ok=True)
    info = f"{package}-{version}.dist-info"
    path = folder / f"{package}-{version}-py3-none-any.whl"
    with zipfile.ZipFile(path, "w") as wheel:
        for name, data in members.items():
            entry = zipfile.ZipInfo(name)
            entry.external_attr = (0o120777 if name in links else 0o100644) << 16
            wheel.writestr(entry, data)
        wheel.writestr(f"{info}/METADATA", f"Metadata-Version: 2.1\nName: {package}\nVersion: {version}\n")
        wheel.writestr(
            f"{info}/WHEEL", "Wheel-Version: 1.0\nGenerator: test\nRoot-Is-Purelib: true\nTag: py3-none-any\n"
        )
        wheel.writestr(f"{info}/RECORD", "")
    return path
