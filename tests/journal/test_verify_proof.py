"""The verifier on proofs: each record of a log has one that is accepted, and no other text is."""

import json
import re
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from freehold.journal.proofs import prove
from freehold.journal.verify import Report, Unusable, verify
from tests.journal.logs import Body, Log, canonical, leaf, merkle, path_of, sample_log, write_key

SAMPLE = sample_log()


def answer(seq: int = 5, first: int = 1, end: int = 8) -> Body:
    """What `GET /v1/receipts/{id}` answers for a record of the sample."""
    line = json.loads(SAMPLE.lines[seq - 1])
    proof = SAMPLE.proof(seq, first, json.loads(SAMPLE.lines[end - 1])["body"])
    return {"object": "receipt", "receipt": line["body"], "proof": proof}


def report_of(folder: Path, content: str, **given: Path) -> Report:
    """The report on a file with that content."""
    path = folder / "receipt.json"
    path.write_text(content, encoding="utf-8")
    (report,) = verify(path, **given)
    return report


def test_a_proof_is_accepted(tmp_path: Path) -> None:
    """The answer of the API, and the proof alone, are verified without any other record."""
    for content in (answer(), answer()["proof"]):
        report = report_of(tmp_path, json.dumps(content, indent=2))
        assert report.damage is None
        assert (report.writer, report.last, report.receipts) == ("main", 5, 1)
        assert "nothing unless" in report.notes[0]


@pytest.mark.parametrize("size", range(1, 20))
def test_each_record_of_a_tree_of_any_size_has_its_proof(tmp_path: Path, size: int) -> None:
    """A path from each leaf of trees of 1 to 19 leads to the root, and from no other leaf's place."""
    log = Log()
    log.segment()
    for number in range(size - 1):
        log.add("receipt", {"request_id": str(number)})
    checkpoint = log.checkpoint()
    for seq in range(1, size + 1):
        proof = log.proof(seq, 1, checkpoint)
        assert report_of(tmp_path, json.dumps(proof)).damage is None
        if size > 1:
            proof["checkpoint"] = log.signed({**checkpoint, "last": checkpoint["last"] + 40})
            assert report_of(tmp_path, json.dumps(proof)).damage is not None
            proof = {**log.proof(seq, 1, checkpoint), "line": log.lines[seq % size].decode()}
            assert report_of(tmp_path, json.dumps(proof)).damage is not None


def test_the_proofs_that_freehold_makes_are_accepted(tmp_path: Path) -> None:
    """What the service proves of a record is what this format says, letter for letter."""
    SAMPLE.write(tmp_path)
    offset = len(b"".join(line + b"\n" for line in SAMPLE.lines[:4]))
    proof = prove(path_of(tmp_path, 1).parent, 1, offset)
    assert proof == answer()["proof"]
    assert report_of(tmp_path, json.dumps(proof)).damage is None


@settings(max_examples=300, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_any_changed_hex_digit_is_refused(tmp_path: Path, data: st.DataObject) -> None:
    """No digit of a hash, a signature, a key or the line's `prev` can be another one."""
    content = json.dumps(answer())
    digits = [match.start() for match in re.finditer("[0-9a-f](?=[0-9a-f]{15})|(?<=[0-9a-f]{15})[0-9a-f]", content)]
    place = data.draw(st.sampled_from(digits))
    digit = data.draw(st.sampled_from("0123456789abcdefABCDEF").filter(lambda value: value != content[place]))
    assert report_of(tmp_path, content[:place] + digit + content[place + 1 :]).damage is not None


def test_another_receipt_than_the_proven_one_is_refused(tmp_path: Path) -> None:
    """The receipt beside the proof must be the body of the line, in value and in type."""
    for status in (201, "200", 200.0):
        changed = answer()
        changed["receipt"]["status"] = status
        damage = report_of(tmp_path, json.dumps(changed)).damage
        assert damage is not None
        assert "not what the proven line says" in damage.what


def test_a_proof_is_held_against_the_key_from_elsewhere(tmp_path: Path) -> None:
    """With --public-key a proof that another key has signed is refused, and the right one leaves no doubt."""
    content = json.dumps(answer())
    assert report_of(tmp_path, content, public_key=write_key(SAMPLE.key, tmp_path / "true.pem")).notes == []
    other = write_key(Ed25519PrivateKey.generate(), tmp_path / "other.pem")
    damage = report_of(tmp_path, content, public_key=other).damage
    assert damage is not None
    assert damage.kind == "key"


def test_a_forged_line_with_a_tree_of_its_own_is_refused(tmp_path: Path) -> None:
    """A path that fits a forged line leads to another root than the signed one."""
    forged = answer()["proof"]
    forged["line"] = forged["line"].replace('"status":200', '"status":201')
    forged["path"] = []
    forged["checkpoint"].update(first=5, last=5, root=merkle([leaf(forged["line"].encode())]).hex())
    damage = report_of(tmp_path, json.dumps(forged)).damage
    assert damage is not None
    assert "signature" in damage.what


@pytest.mark.parametrize(
    "change",
    [
        {"format": 2},
        {"line": ""},
        {"line": "\ud800"},
        {"path": [1]},
        {"path": ["ab"] * 5000},
        {"path": [["ab" * 32]]},
        {"checkpoint": {}},
        {"public_key": "00"},
        {"public_key": "ff" * 32},
    ],
)
def test_a_proof_of_a_wrong_form_is_refused(tmp_path: Path, change: Body) -> None:
    """Another format, wrong types, missing parts and impossible keys are refused without a failure."""
    damage = report_of(tmp_path, json.dumps({**answer()["proof"], **change})).damage
    assert damage is not None


@pytest.mark.parametrize("bound", [{"last": 10**400}, {"first": 10**400}, {"first": -(10**400)}, {"last": 0}])
def test_impossible_bounds_are_refused(tmp_path: Path, bound: Body) -> None:
    """A checkpoint over impossibly many records, or none, is refused without a failure."""
    proof = answer()["proof"]
    proof["checkpoint"] = SAMPLE.signed({**proof["checkpoint"], **bound})
    proof["path"] = ["ab" * 32] * 1500
    assert report_of(tmp_path, json.dumps(proof)).damage is not None


def test_a_kept_checkpoint_is_of_no_use_for_a_proof(tmp_path: Path) -> None:
    """--checkpoint with a proof is wrong usage, told as such."""
    kept = tmp_path / "kept.json"
    kept.write_bytes(canonical(answer()["proof"]["checkpoint"]))
    with pytest.raises(Unusable, match="for logs"):
        report_of(tmp_path, json.dumps(answer()), checkpoint=kept)
