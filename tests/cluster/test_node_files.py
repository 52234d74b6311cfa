import asyncio
import json
from pathlib import Path

import pytest

from freehold.catalog.blobs import hash_file, hash_folder
from freehold.cluster.node_files import Listing, NodeFiles, with_paths
from freehold.errors import EngineFailed


def _model(folder: Path) -> tuple[Path, str]:
    """A model of several files, and its digest."""
    (folder / "unet").mkdir(parents=True)
    (folder / "model_index.json").write_text("{}", encoding="utf-8")
    (folder / "unet" / "weights.safetensors").write_bytes(bytes(range(256)) * 40)
    (folder / "empty").touch()
    return folder, hash_folder(folder)


def _bring(source: Path, listing: Listing, files: NodeFiles, piece_bytes: int = 1000) -> None:
    arrival = files.begin(listing)
    try:
        for name, size in listing.files:
            data = (source / name if name else source).read_bytes()
            offsets = range(0, size, piece_bytes)
            for offset in reversed(offsets):
                arrival.write(name, offset, data[offset : offset + piece_bytes])
        asyncio.run(arrival.finish())
    finally:
        arrival.close()


def test_a_model_of_several_files_arrives_whole(tmp_path: Path) -> None:
    """Pieces in any order become the model that the catalog names, and nothing else is left."""
    source, digest = _model(tmp_path / "source")
    files = NodeFiles(tmp_path / "models")
    assert not files.has(digest)
    _bring(source, Listing.of(source, digest), files)
    assert hash_folder(files.path(digest)) == digest
    assert not list((tmp_path / "models" / "incoming").iterdir())


def test_a_single_file_arrives_whole(tmp_path: Path) -> None:
    """A model of one file is a file on the node too."""
    source = tmp_path / "weights.gguf"
    source.write_bytes(b"GGUF" * 5000)
    digest = hash_file(source)
    files = NodeFiles(tmp_path / "models")
    _bring(source, Listing.of(source, digest), files)
    assert files.path(digest).read_bytes() == source.read_bytes()


def test_what_is_not_what_was_pinned_is_not_kept(tmp_path: Path) -> None:
    """A model that arrives with another digest is refused and deleted."""
    source = tmp_path / "weights.gguf"
    source.write_bytes(b"GGUF" * 5000)
    files = NodeFiles(tmp_path / "models")
    wrong = "0" * 64
    with pytest.raises(EngineFailed, match="another digest"):
        _bring(source, Listing.of(source, wrong), files)
    assert not files.has(wrong)
    assert not list((tmp_path / "models" / "incoming").iterdir())


@pytest.mark.parametrize("name", ["../../outside", "/etc/outside", "a/../../b"])
def test_no_file_leaves_the_models_folder(tmp_path: Path, name: str) -> None:
    """A listing with a path that would leave the model's folder is refused."""
    files = NodeFiles(tmp_path / "models")
    with pytest.raises(EngineFailed, match="leaves its folder"):
        files.begin(Listing("0" * 64, ((name, 1),)))
    assert not (tmp_path / "outside").exists()


def test_paths_of_the_gateway_become_the_nodes(tmp_path: Path) -> None:
    """Paths are changed wherever they stand whole, also within JSON, the longest first, and nothing else is."""
    home = "/srv/größe/models"
    argv = ["/usr/bin/python", "--spec", json.dumps({"file": f"{home}/sha256-ab", "more": f"{home}/sha256-abc"}), home]
    changed = with_paths(
        argv, [("/usr/bin/python", "/opt/python"), (f"{home}/sha256-ab", "/data/é/ab"), (home, str(tmp_path))]
    )
    assert changed[0] == "/opt/python"
    assert json.loads(changed[2]) == {"file": "/data/é/ab", "more": f"{tmp_path}/sha256-abc"}
    assert changed[3] == str(tmp_path)
