"""From files to shards: what comes out, that it is the same after any break, and what the card says of it."""

import json
import os
import random
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from pyarrow import parquet

from freehold.errors import ConfigError
from freehold.training.data.card import DUPLICATES
from freehold.training.data.prepare import Preparation
from freehold.training.data.records import MANIFEST
from freehold.training.data.settings import LEAST, DataSettings, SourceFile, TokenizerSettings, kind_of
from freehold.training.data.shards import CARD, PAGE, TokenShards, token_field
from freehold.training.data.tokenizer import TextTokenizer, train_tokenizer
from freehold.training.data.writing import RecordWriter
from tests.disk import fill, small_disk
from tests.training.data.texts import play, sentence

pytestmark = pytest.mark.torch

PATIENCE_S = 120


@pytest.fixture(scope="module")
def tokenizer(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("tokenizer")
    train_tokenizer([play(20_000)], TokenizerSettings(vocabulary=400), folder)
    return folder


@pytest.fixture(scope="module")
def files(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """A table, lines with conversations and texts among which some are twice, and a text."""
    folder, draw = tmp_path_factory.mktemp("files"), random.Random(4)
    rows = ["".join(sentence(draw) for _ in range(30)) for _ in range(120)]
    rows += [rows[3].upper(), rows[5].replace("king", "duke", 1), rows[120 - 1], ""]
    parquet.write_table(pa.table({"text": rows}), folder / "a.parquet", row_group_size=17)
    talks = [
        {"messages": [{"role": "user", "content": sentence(draw)}, {"role": "assistant", "content": sentence(draw)}]}
        for _ in range(40)
    ]
    lines = [json.dumps(each) for each in [*talks, talks[7], {"text": rows[11]}, {"text": "<|endoftext|> as a text"}]]
    (folder / "b.jsonl").write_text("\n".join(lines))
    (folder / "c.txt").write_text(play(9000, seed=3))
    return [folder / "a.parquet", folder / "b.jsonl", folder / "c.txt"]


def settings_of(files: list[Path], tokenizer: Path, **more: Any) -> DataSettings:
    """What becomes of files."""
    sources = tuple(SourceFile(kind=kind_of(path), path=path) for path in files)
    return DataSettings(sources=sources, tokenizer=tokenizer, **more)


def near(files: list[Path], tokenizer: Path) -> DataSettings:
    """Everything that takes memory of what was."""
    return settings_of(files, tokenizer, duplicates={"kind": "near"}, shard_tokens=3000, validation_share=0.2)


def prepared(settings: DataSettings, folder: Path) -> TokenShards:
    """The shards of a preparation without a break."""
    return Preparation(settings, folder, lambda _: None, commit_s=0).run()


def content(folder: Path) -> dict[str, bytes]:
    """All files by name, but for the card, which tells the time."""
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in folder.rglob("*")
        if path.is_file() and path.name not in {CARD, PAGE}
    }


@pytest.fixture(scope="module")
def whole(files: list[Path], tokenizer: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Data that were prepared without a break."""
    folder = tmp_path_factory.mktemp("whole") / "data"
    prepared(near(files, tokenizer), folder)
    return folder


def test_a_text_is_cut_at_its_end(tokenizer: Path, tmp_path: Path) -> None:
    """The last tenth of a single text is for validation, counted in characters, with no token added."""
    text = "é" + play(9_999)
    (tmp_path / "a.txt").write_text(text)
    shards = prepared(settings_of([tmp_path / "a.txt"], tokenizer), tmp_path / "data")
    cut = TextTokenizer.open(shards.tokenizer)
    assert cut.decode(shards.read("training", 0, shards.tokens("training"))) == text[:9000]
    assert cut.decode(shards.read("validation", 0, shards.tokens("validation"))) == text[9000:]
    assert (shards.bytes("training"), shards.bytes("validation")) == (9001, 1000)
    assert shards.token_bytes[shards.read("training", 0, shards.tokens("training"))].sum() == 9001


def test_the_ends_of_several_texts_are_cut(tokenizer: Path, tmp_path: Path) -> None:
    """Of several texts each gives its end, and each part is ended by the token of ends."""
    for name in "ab":
        (tmp_path / f"{name}.txt").write_text(name * 10)
    shards = prepared(
        settings_of([tmp_path / "a.txt", tmp_path / "b.txt"], tokenizer, split="end", validation_share=0.5),
        tmp_path / "data",
    )
    cut = TextTokenizer.open(shards.tokenizer)
    for split in ("training", "validation"):
        text = cut.decode(shards.read(split, 0, shards.tokens(split)))
        assert text == "aaaaa<|endoftext|>bbbbb<|endoftext|>"


def test_of_some_files_nothing_is_held_back(tokenizer: Path, tmp_path: Path) -> None:
    """Beside a text whose end is held back, conversations are learnt as a whole, and the card says so."""
    talk = {"messages": [{"role": "user", "content": "Who?"}, {"role": "assistant", "content": "The king."}]}
    (tmp_path / "talks.jsonl").write_text(json.dumps(talk))
    (tmp_path / "a.txt").write_text(play(1000))
    sources = (
        SourceFile(kind="text", path=tmp_path / "a.txt"),
        SourceFile(kind="jsonl", path=tmp_path / "talks.jsonl", learnt_whole=True),
    )
    shards = prepared(DataSettings(sources=sources, tokenizer=tokenizer), tmp_path / "data")
    cut = TextTokenizer.open(shards.tokenizer)
    learnt = cut.decode(shards.read("training", 0, shards.tokens("training")))
    assert learnt.startswith(play(1000)[:900] + "<|endoftext|>")
    assert "<|im_start|>user\nWho?<|im_end|>\n<|im_start|>assistant\nThe king.<|im_end|>" in learnt
    assert cut.decode(shards.read("validation", 0, shards.tokens("validation"))) == play(1000)[900:] + "<|endoftext|>"
    card = json.loads((tmp_path / "data" / CARD).read_text())
    assert [source.get("learnt_whole", False) for source in card["sources"]] == [False, True]
    with pytest.raises(ValueError, match="a part is held back"):
        DataSettings(sources=sources[1:], tokenizer=tokenizer)


def test_documents_are_kept_once_and_whole(whole: Path, files: list[Path]) -> None:
    """Each document is in one split, once, as it was, with its conversation rendered, ended by the token of ends."""
    shards = TokenShards.open(whole, verify=True)
    cut = TextTokenizer.open(shards.tokenizer)
    found = []
    for split in ("training", "validation"):
        tokens = shards.read(split, 0, shards.tokens(split))
        ends = np.flatnonzero(tokens == shards.end)
        assert ends[-1] == len(tokens) - 1
        assert len(ends) == shards.documents(split)
        texts = [cut.decode(part[:-1]) for part in np.split(tokens, ends + 1)[:-1]]
        assert sum(len(text.encode()) for text in texts) == shards.bytes(split)
        found += texts
    rows = parquet.read_table(files[0])["text"].to_pylist()
    lines = [json.loads(line) for line in files[1].read_text().splitlines()]
    talks = [cut.rendered(line) for line in lines if "messages" in line]
    expected = [*rows[:120], *talks[:40], "<|endoftext|> as a text", files[2].read_text()]
    assert sorted(found) == sorted(expected)
    assert 10 < shards.documents("validation") < 60


def test_special_tokens_come_from_conversations_alone(whole: Path) -> None:
    """What looks like a special token in a text is text; in a conversation it is the token."""
    shards = TokenShards.open(whole)
    tokens = np.concatenate([shards.read(split, 0, shards.tokens(split)) for split in ("training", "validation")])
    assert (tokens == 1).sum() == 80
    assert (tokens == 2).sum() == 80
    assert (tokens == shards.end).sum() == 162


def test_the_card_tells_what_was_done(whole: Path, files: list[Path]) -> None:
    """The card has digests, numbers before and after, what was left out and where, and no line of the data."""
    card = json.loads((whole / CARD).read_text())
    shards = TokenShards.open(whole)
    assert card["sha256"] == shards.sha256
    assert [each["name"] for each in card["sources"]] == ["a.parquet", "b.jsonl", "c.txt"]
    assert card["sources"][0]["bytes"] == files[0].stat().st_size
    assert card["read"]["documents"] == 124 + 43 + 1
    assert card["left_out"] == {"empty": 1, "broken": 0, "exact": 4, "near": 1, "held_out": 0}
    assert card["splits"]["training"]["tokens"] == shards.tokens("training")
    kept = sum(each["documents"] for each in card["splits"].values())
    assert kept + sum(card["left_out"].values()) == card["read"]["documents"]
    listed = [json.loads(line) for line in (whole / DUPLICATES).read_text().splitlines()]
    assert [(each["file"], each["place"], each["twin_place"]) for each in listed][:3] == [
        ("a.parquet", 121, 4),
        ("a.parquet", 122, 6),
        ("a.parquet", 123, 120),
    ]
    page = (whole / PAGE).read_text()
    assert all(each["sha256"] in page for each in card["sources"])
    assert "king" not in page + (whole / CARD).read_text()


def test_licences_are_told(tokenizer: Path, tmp_path: Path) -> None:
    """The card tells the licence that was stated for a file or for all, or that none was."""
    for name in "ab":
        (tmp_path / f"{name}.txt").write_text(play(500, ord(name)))
    files = [tmp_path / "a.txt", tmp_path / "b.txt"]
    for given, told in [((), "not stated"), (("MIT",), "MIT"), (("CC0-1.0", "b.txt=MIT"), "CC0-1.0")]:
        settings = settings_of(files, tokenizer, licences=given, validation_share=0)
        prepared(settings, tmp_path / told)
        assert json.loads((tmp_path / told / CARD).read_text())["sources"][0]["licence"] == told
    assert json.loads((tmp_path / "CC0-1.0" / CARD).read_text())["sources"][1]["licence"] == "MIT"


def test_what_is_held_out_is_not_trained_on(tokenizer: Path, tmp_path: Path) -> None:
    """Documents that the model will be tested with are left out, also where duplicates are not looked for."""
    texts = [play(400, seed) for seed in range(6)]
    (tmp_path / "a.jsonl").write_text("".join(json.dumps({"text": text}) + "\n" for text in [*texts, texts[0]]))
    (tmp_path / "test.txt").write_text(texts[2].upper())
    held = (SourceFile(kind="text", path=tmp_path / "test.txt"),)
    for kind, kept in [("none", 6), ("exact", 5), ("near", 5)]:
        settings = settings_of([tmp_path / "a.jsonl"], tokenizer, held_out=held, duplicates={"kind": kind})
        shards = prepared(settings, tmp_path / kind)
        assert shards.documents("training") + shards.documents("validation") == kept
        assert json.loads((tmp_path / kind / CARD).read_text())["left_out"]["held_out"] == 1


def test_the_same_text_is_always_on_one_side(tokenizer: Path, tmp_path: Path) -> None:
    """Even where duplicates stay, no text is both trained on and validated with."""
    texts = [play(300, seed) for seed in range(20)] * 3
    (tmp_path / "a.jsonl").write_text("".join(json.dumps({"text": text}) + "\n" for text in texts))
    settings = settings_of([tmp_path / "a.jsonl"], tokenizer, duplicates={"kind": "none"}, validation_share=0.4)
    shards = prepared(settings, tmp_path / "data")
    cut = TextTokenizer.open(shards.tokenizer)
    sides = [
        set(cut.decode(shards.read(split, 0, shards.tokens(split))).split("<|endoftext|>")) - {""}
        for split in ("training", "validation")
    ]
    assert len(sides[0]) + len(sides[1]) == 20
    assert all(sides)


def test_a_break_at_any_commit_changes_nothing(whole: Path, files: list[Path], tokenizer: Path, tmp_path: Path) -> None:
    """Stopped behind each commit in turn, with more written behind it, the data come out the same."""
    breaks = 0
    folder = tmp_path / "data"
    while not (folder / MANIFEST).exists():
        said: list[str] = []
        stop = stopping(said)
        try:
            Preparation(near(files, tokenizer), folder, stop, commit_s=0, batch=7).run()
        except Stop:
            breaks += 1
    assert breaks > 10
    assert content(folder) == content(whole)


class Stop(Exception):
    """Stops a preparation where it tells how far it is."""


def stopping(said: list[str]) -> Callable[[str], None]:
    """Says nothing, and stops at the second commit."""

    def say(line: str) -> None:
        said.append(line)
        if sum("documents ·" in each for each in said) == 2:
            raise Stop

    return say


KILLED = """
import sys
from pathlib import Path
from freehold.training.data.prepare import Preparation
from freehold.training.data.settings import DataSettings
Preparation(DataSettings.model_validate_json(sys.argv[1]), Path(sys.argv[2]), print, commit_s=0, batch=5).run()
"""


def test_kills_change_nothing(whole: Path, files: list[Path], tokenizer: Path, tmp_path: Path) -> None:
    """Killed at whatever places, the same command goes on to the same bytes."""
    settings, folder, kills = near(files, tokenizer).model_dump_json(), tmp_path / "data", 0
    draw = random.Random(11)
    while not (folder / MANIFEST).exists():
        with subprocess.Popen([sys.executable, "-c", KILLED, settings, str(folder)], stdout=subprocess.PIPE) as process:
            assert process.stdout is not None
            for _ in range(draw.randrange(10, 30)):
                process.stdout.readline()
            if process.poll() is None:
                os.kill(process.pid, signal.SIGKILL)
                kills += 1
            process.wait(PATIENCE_S)
    assert kills
    assert content(folder) == content(whole)


def test_a_full_disk_loses_nothing(whole: Path, files: list[Path], tokenizer: Path, tmp_path: Path) -> None:
    """A full disk is told as such at whatever place, and with room the same command goes on to the same bytes."""
    with small_disk(tmp_path / "small", megabytes=8) as place:
        folder, full = place / "data", 0
        for left in (0, 40_000, 90_000, 160_000, 250_000, 400_000):
            if (folder / MANIFEST).exists():
                break
            ballast = fill(place)
            os.truncate(ballast, max(0, ballast.stat().st_size - left))
            try:
                prepared(near(files, tokenizer), folder)
            except ConfigError as exc:
                full += "is full" in exc.message
            ballast.unlink()
        assert full > 1
        prepared(near(files, tokenizer), folder)
        assert content(folder) == content(whole)


def test_data_that_are_there_are_not_made_again(whole: Path, files: list[Path], tokenizer: Path) -> None:
    """The same command on complete data says so, other settings are refused, and nothing is changed."""
    before = content(whole)
    said: list[str] = []
    Preparation(near(files, tokenizer), whole, said.append).run()
    assert "has these data already" in said[-1]
    with pytest.raises(ConfigError, match="other data, or the same with other settings"):
        prepared(settings_of(files, tokenizer), whole)
    assert content(whole) == before


def test_a_changed_file_is_not_gone_on_with(tokenizer: Path, tmp_path: Path) -> None:
    """Half prepared data of a file that has changed since are refused."""
    source = tmp_path / "a.jsonl"
    source.write_text("".join(json.dumps({"text": play(300, seed)}) + "\n" for seed in range(9)) + "{\n")
    settings = settings_of([source], tokenizer)
    with pytest.raises(ConfigError, match=r"a\.jsonl, line 10"):
        Preparation(settings, tmp_path / "data", lambda _: None, commit_s=0, batch=2).run()
    source.write_text(json.dumps({"text": "new"}) + "\n")
    with pytest.raises(ConfigError, match="other sources or settings"):
        prepared(settings, tmp_path / "data")


def test_nothing_to_train_with_is_told(tokenizer: Path, tmp_path: Path) -> None:
    """Files without text are an error."""
    (tmp_path / "a.txt").write_text(" \n")
    with pytest.raises(ConfigError, match="nothing is left to train with"):
        prepared(settings_of([tmp_path / "a.txt"], tokenizer), tmp_path / "data")


def test_bytes_can_be_tokens(tmp_path: Path) -> None:
    """With a tokenizer of bytes alone, a text has as many tokens as bytes."""
    train_tokenizer([], TokenizerSettings(vocabulary=LEAST), tmp_path / "tokenizer")
    (tmp_path / "a.txt").write_text(play(2000))
    shards = prepared(settings_of([tmp_path / "a.txt"], tmp_path / "tokenizer"), tmp_path / "data")
    assert shards.tokens("training") == shards.bytes("training") == 1800


def test_a_damaged_tokenizer_is_found(files: list[Path], tokenizer: Path, tmp_path: Path) -> None:
    """Data whose tokenizer is not the one that made them are not opened."""
    shards = prepared(settings_of(files, tokenizer), tmp_path / "data")
    (shards.tokenizer / "tokenizer.json").write_text("{}")
    with pytest.raises(ConfigError, match=r"tokenizer\.json is missing or not what was written"):
        TokenShards.open(tmp_path / "data")


def test_pictures_are_no_tokens(tmp_path: Path) -> None:
    """Shards of something else are refused by what they have."""
    with RecordWriter(tmp_path, [token_field(10)], purpose={}) as writer:
        writer.append("training", {"tokens": np.arange(4)})
        writer.finish({})
    with pytest.raises(ConfigError, match="has no tokens"):
        TokenShards.open(tmp_path)
