import gguf
import pytest

from freehold.catalog.gguf_header import BLOCKS, FILE_TYPES
from freehold.catalog.references import default_name, parse_reference
from freehold.errors import CatalogError


@pytest.mark.parametrize(
    "uri",
    [
        "nothing",
        "s3://bucket/m.gguf",
        "pypi://package/m.gguf",
        "pypi://--index-url==1/m.gguf",
        "pypi://package==1.0/../m.gguf",
        "pypi://package==1.0//etc/passwd",
        "pypi://package==1.0/a/%2e%2e/m.gguf",
        "hf://org",
        "hf://org/../m.gguf",
        "hf://org/repo/../../m.gguf",
        "hf://org/repo@../m.gguf",
        "https://user:password@example.com/m.gguf",
        "https:///m.gguf",
        "https://example.com/a/../m.gguf",
        "https://example.com/a b.gguf",
        "file://m.gguf",
        "file:///a/../m.gguf",
        "file:///a/%2e%2e/m.gguf",
    ],
)
def test_unsafe_uris_are_refused(uri: str) -> None:
    """A URI that is not understood, carries a credential or would leave its folder is refused."""
    with pytest.raises(CatalogError):
        parse_reference(uri)


@pytest.mark.parametrize(
    ("uri", "name"),
    [
        ("hf://org/Some-Model-GGUF", "some-model-gguf"),
        ("hf://org/repo@main/sub/Tiny.Q4_0.gguf", "tiny.q4_0"),
        ("pypi://package==1.0/package/model/model.safetensors", "package"),
        ("https://example.com/models/Fine Model".replace(" ", "%20") + ".gguf?download=1", "fine-model"),
        ("file:///models/tuned/model.gguf", "tuned"),
    ],
)
def test_a_model_is_named_after_its_file(uri: str, name: str) -> None:
    """Without a name a model is called after its file or, where that says nothing, after what holds it."""
    assert default_name(parse_reference(uri)) == name


def test_the_tables_of_types_are_those_of_gguf() -> None:
    """Block sizes and names of quantizations agree with the gguf package."""
    sizes = {int(kind): size for kind, size in gguf.GGML_QUANT_SIZES.items()}
    assert {kind: sizes[kind] for kind in BLOCKS} == BLOCKS
    names = {int(kind): kind.name.removeprefix("MOSTLY_").removeprefix("ALL_") for kind in gguf.LlamaFileType}
    assert {kind: names[kind] for kind in FILE_TYPES} == FILE_TYPES
