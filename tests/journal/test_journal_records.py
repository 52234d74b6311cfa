"""The form of records, the trees over them and the key that signs them."""

import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from freehold.errors import HomeError
from freehold.journal.merkle import Tree, leaf_hash, path, root, root_from_path
from freehold.journal.records import canonical, is_utc, plain, utc
from freehold.journal.signer import Signer
from freehold.types.receipt import Outcome, Receipt

LEAVES = [
    leaf_hash(bytes.fromhex(data))
    for data in ("", "00", "10", "2021", "3031", "40414243", "5051525354555657", "606162636465666768696a6b6c6d6e6f")
]
ROOTS = [
    "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855",
    "6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d",
    "fac54203e7cc696cf0dfcb42c92a1d9dbaf70ad9e621f4bd8d98662f00e3c125",
    "aeb6bcfe274b70a14fb067a5e5578264db0fa9b51af5e0ba159158f329e06e77",
    "d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7",
    "4e3bbb1f7b478dcfe71fb631631519a3bca12c9aefca1612bfce4c13a86264d4",
    "76e67dadbcdf1e10e1b74ddc608abd2f98dfb16fbce75277b5232a127f2087ef",
    "ddb89be403809e325750d3d263cd78929c2942b7942a34b77e122c9594a74c8c",
    "5dc9da79a70659a9ad559cb701ded9a2ab9d823aad2f4960cfe370eff4604328",
]
"""The test vectors of certificate-transparency, of 0 to 8 leaves."""

JSON = st.recursive(
    st.booleans() | st.integers(-(2**63), 2**63 - 1) | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=20,
)


@pytest.mark.slow
@given(st.dictionaries(st.text(), JSON))
def test_the_canonical_form_is_what_the_standard_library_gives(body: dict[str, Any]) -> None:
    """A body's form equals that of Python's json with sorted keys and without white space or escapes."""
    expected = json.dumps(body, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    assert canonical(plain(body)) == expected.encode()


@pytest.mark.parametrize("value", [0.5, [1, 2.0], {"a": {"b": 1e9}}, float("nan"), b"x", object()])
def test_what_json_has_not_is_refused(value: Any) -> None:
    """A float or anything that is no JSON is refused wherever it stands."""
    with pytest.raises(TypeError, match="a record holds text"):
        plain({"value": value})


@pytest.mark.parametrize("body", [{"a": "\ud800"}, {"a": 2**64}, {1: "a"}])
def test_what_has_no_canonical_form_is_refused(body: dict[str, Any]) -> None:
    """A lone surrogate, an integer beyond 64 bits and a key that is no text are refused."""
    with pytest.raises(TypeError):
        canonical(plain(body))


def test_nothing_stands_for_none() -> None:
    """A key whose value is None is left out, at every depth."""
    assert plain({"a": None, "b": {"c": None, "d": 1}}) == {"b": {"d": 1}}


def test_a_receipt_is_canonical_as_it_is() -> None:
    """The body of a receipt needs no change but that its outcome is written as text."""
    made = Receipt("req_1", utc(0), utc(1), 1, "/v1", "openai", Outcome.FINISHED, 200, parameters={"stream": True})
    assert json.loads(canonical(plain(made.body())))["outcome"] == "finished"


@given(st.datetimes(min_value=datetime(1970, 1, 1), max_value=datetime(2100, 1, 1)))  # noqa: DTZ001 - hypothesis wants naive ones
def test_times_are_written_to_the_microsecond(moment: datetime) -> None:
    """A time comes out as the datetime module writes it, with all six digits and a Z."""
    aware = moment.replace(tzinfo=UTC)
    written = utc(aware.timestamp())
    assert written == aware.strftime("%Y-%m-%dT%H:%M:%S.%fZ")
    assert is_utc(written)


@pytest.mark.parametrize("value", [None, 3, "", "2026-11-24T08:00:00Z", "2026-13-24T08:00:00.000000Z", utc(0) + "\n"])
def test_other_times_are_told_apart(value: object) -> None:
    """What is not a time in that form does not pass for one."""
    assert not is_utc(value)


@pytest.mark.parametrize("size", range(9))
def test_roots_are_those_of_certificate_transparency(size: int) -> None:
    """The root over the first leaves of the known example is the known one."""
    assert root(LEAVES[:size]).hex() == ROOTS[size]


def test_a_path_is_that_of_certificate_transparency() -> None:
    """The path of the first of the eight leaves is the known one."""
    assert [sibling.hex() for sibling in path(LEAVES, 0)] == [
        "96a296d224f285c67bee93c30f8a309157f0daa35dc5b87e410b78630a09cfc7",
        "5f083f0a1a33ca076a95279832580db3e0ef4584bdff1f54c8a360f50de3031e",
        "6b47aaf29ee3c2af9af889bc1fb9254dabd31177f16232dd6aab035ca39bf6e4",
    ]


@given(st.integers(1, 70), st.data())
def test_every_path_leads_to_the_root(size: int, data: st.DataObject) -> None:
    """A leaf and its path give the root, and no other place, leaf or length does."""
    leaves = [leaf_hash(bytes([number])) for number in range(size)]
    index = data.draw(st.integers(0, size - 1))
    siblings = path(leaves, index)
    assert root_from_path(leaves[index], index, size, siblings) == root(leaves)
    assert root_from_path(leaf_hash(b"other"), index, size, siblings) != root(leaves)
    with pytest.raises(ValueError, match="the path is too"):
        root_from_path(leaves[index], index, size, [*siblings, leaves[0]])
    if siblings:
        with pytest.raises(ValueError, match="the path is too"):
            root_from_path(leaves[index], index, size, siblings[:-1])


def test_a_leaf_that_is_not_there_has_no_path() -> None:
    """A place outside of the tree is an error."""
    with pytest.raises(IndexError):
        path(LEAVES, 8)
    with pytest.raises(ValueError, match="has no leaf"):
        root_from_path(LEAVES[0], 8, 8, [])


def test_a_copied_tree_grows_on_its_own() -> None:
    """A leaf that is put into a copy is not in the tree that it was copied from."""
    tree = Tree()
    tree.add(LEAVES[0])
    copy = tree.copy()
    copy.add(LEAVES[1])
    assert (tree.root().hex(), copy.root().hex()) == (ROOTS[1], ROOTS[2])


def test_the_key_is_made_once_and_kept_private(tmp_path: Path) -> None:
    """A home's key is the same the next time, and only its owner can read it."""
    private, public = tmp_path / "journal.pem", tmp_path / "public.pem"
    made = Signer.load_or_create(private, public)
    assert private.stat().st_mode & 0o777 == 0o600
    assert Signer.load_or_create(private, public).public_key == made.public_key
    assert len(made.sign(b"message")) == 64


def test_a_lost_public_key_is_written_again(tmp_path: Path) -> None:
    """The public key's file comes back from the private key."""
    private, public = tmp_path / "journal.pem", tmp_path / "public.pem"
    Signer.load_or_create(private, public)
    before = public.read_bytes()
    public.unlink()
    Signer.load_or_create(private, public)
    assert public.read_bytes() == before


def test_keys_that_do_not_belong_together_are_refused(tmp_path: Path) -> None:
    """A lost private key, a public key of another one, and files that hold no key are errors that say what to do."""
    private, public = tmp_path / "journal.pem", tmp_path / "public.pem"
    other = tmp_path / "other.pem"
    Signer.load_or_create(private, public)
    with pytest.raises(HomeError, match=r"is missing, and .* restore the key"):
        Signer.load_or_create(other, public)
    Signer.load_or_create(other, tmp_path / "other.public.pem")
    with pytest.raises(HomeError, match="is not the public key of"):
        Signer.load_or_create(other, public)
    public.write_text("nothing")
    with pytest.raises(HomeError, match="holds no public key"):
        Signer.load_or_create(private, public)
    private.write_text("nothing")
    with pytest.raises(HomeError, match="holds no private key"):
        Signer.load_or_create(private, public)
