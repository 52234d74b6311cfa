"""`freehold lineage`, `freehold deployments promote|canary` and `freehold models default|retire|callers`."""

import hashlib

import pytest

from tests.catalog.making import gguf_bytes
from tests.cli.program import Program

pytestmark = pytest.mark.slow

DIGEST = hashlib.sha256(gguf_bytes()).hexdigest()


def pull(program: Program, name: str) -> None:
    """A model of the catalog."""
    file = program.home.with_name(f"{name}.gguf")
    file.write_bytes(gguf_bytes())
    program.fine("pull", f"file://{file}", "--name", name)


def test_a_model_is_traced_and_verified(program: Program) -> None:
    """The tree names model, digest and source; a changed byte of the weights ends with 1 and the model's name."""
    pull(program, "house")
    assert f"model house sha256:{DIGEST[:12]}" in program.fine("lineage", "house")
    assert "verified: 1 records in the signed journal, the bytes of 1 read again" in program.fine(
        "lineage", DIGEST, "--verify"
    )
    blob = program.home / "models" / "blobs" / f"sha256-{DIGEST}"
    blob.write_bytes(gguf_bytes().replace(b"llama", b"lIama", 1))
    assert f"house {DIGEST[:12]}: its bytes have changed" in program.refused(1, "lineage", "house", "--verify")
    assert "No lineage is recorded of 'ghost'" in program.refused(2, "lineage", "ghost")


def test_a_promotion_is_tried_refused_and_done(program: Program) -> None:
    """A dry run ends with 1 and says what is missing; the promotion ends with 2; without a condition it is done."""
    file = program.home.with_name("deployments.toml")
    deployment = '[[deployment]]\nname = "held"\nengine = "echo"\nmodel = "one"\n'
    file.write_text(f'{deployment}promote_if = "gsm8k >= 0.3"\n', encoding="utf-8")
    program.fine("apply", str(file))
    promote = ("deployments", "promote", "held", "--to", "two")
    tried = program.run(*promote, "--dry-run")
    assert tried.returncode == 1
    assert "held may not change to two" in tried.stdout
    assert "no number of 'gsm8k'" in tried.stdout
    assert "'gsm8k >= 0.3' does not hold" in program.refused(2, *promote)
    file.write_text(deployment, encoding="utf-8")
    program.fine("apply", str(file))
    assert "held changed from one to two" in program.fine(*promote)


def test_a_canary_begins_and_stops(program: Program) -> None:
    """The settings of a canary are those that were given; it is shown, and gone when it is stopped."""
    program.fine("deployments", "create", "echo", "--engine", "echo", "--model", "one")
    canary = ("deployments", "canary")
    rollback = ("--rollback-if", "errors > base + 0.05", "--min-requests", "5", "--window", "60")
    assert "25 %" in program.fine(*canary, "begin", "echo", "--to", "two", "--share", "0.25", *rollback)
    shown = program.json(*canary, "show", "echo")
    assert shown["settings"] == {
        "model": "two",
        "share": 0.25,
        "rollback_if": "errors > base + 0.05",
        "window_s": 60.0,
        "min_requests": 5,
    }
    assert "two runs" in program.fine(*canary, "show", "echo")
    assert "column 1" in program.refused(
        2, *canary, "begin", "echo", "--to", "two", "--share", "0.25", "--rollback-if", "1"
    )
    program.fine(*canary, "stop", "echo")
    program.refused(2, *canary, "finish", "echo")


def test_a_model_becomes_the_default_and_is_retired(program: Program) -> None:
    """The commands tell what was done; a date that is none, and neither date nor --cancel, are wrong input."""
    pull(program, "house")
    told = program.fine("models", "default", "house", "--family", "home", "--version", "1")
    assert "house is the default of home" in told
    assert "2027-06-30" in program.fine("models", "retire", "house", "--at", "2027-06-30")
    assert "house is not retired" in program.fine("models", "retire", "house", "--cancel")
    program.refused(2, "models", "retire", "house")
    program.refused(2, "models", "retire", "house", "--at", "someday")
    assert program.json("models", "callers", "house", "--days", "7")["data"] == []
