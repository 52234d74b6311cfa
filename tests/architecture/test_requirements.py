"""The locks: hashed, light, and in agreement with pyproject.toml."""

import re
import tomllib

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from tests.architecture.tree import ROOT

LOCKS = ("default", "build", "dev", "container", "train", "eval")
TOO_HEAVY = {"torch", "triton", "tensorflow", "jax", "transformers", "sentencepiece", "vllm", "diffusers", "ray"}
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
TRAIN = PROJECT["project"]["optional-dependencies"]["train"]
CONTAINER = [
    requirement
    for extra in ("postgres", "cluster")
    for requirement in PROJECT["project"]["optional-dependencies"].get(extra, ())
]


def _entries(lock: str) -> list[str]:
    """The entries of a lock, each with its hashes on one line."""
    text = (ROOT / "requirements" / f"{lock}.txt").read_text(encoding="utf-8").replace("\\\n", " ")
    return [line for line in text.splitlines() if line.strip() and not line.startswith("#")]


def _pins(lock: str) -> dict[str, set[str]]:
    """Package → the versions that a lock pins; more than one where an environment decides."""
    pins: dict[str, set[str]] = {}
    for entry in _entries(lock):
        requirement = Requirement(entry.split(" --hash=")[0].strip())
        (specifier,) = requirement.specifier
        assert specifier.operator == "==", entry
        pins.setdefault(canonicalize_name(requirement.name), set()).add(specifier.version)
    return pins


@pytest.mark.parametrize("lock", LOCKS)
def test_every_entry_is_hashed(lock: str) -> None:
    """Every entry of a lock pins one version and has SHA-256 hashes."""
    unhashed = [entry for entry in _entries(lock) if not re.search(r"--hash=sha256:[0-9a-f]{64}\b", entry)]
    assert not unhashed
    assert _pins(lock)


def test_the_default_install_is_light() -> None:
    """What users install by default has no training framework and no GPU library."""
    heavy = [name for name in _pins("default") if name in TOO_HEAVY or name.startswith(("nvidia-", "torch"))]
    assert not heavy


@pytest.mark.parametrize(
    ("lock", "declared"),
    [
        ("default", PROJECT["project"]["dependencies"]),
        ("dev", PROJECT["project"]["dependencies"] + PROJECT["dependency-groups"]["dev"]),
        ("build", PROJECT["build-system"]["requires"]),
        ("container", PROJECT["project"]["dependencies"] + CONTAINER),
        ("eval", PROJECT["project"]["optional-dependencies"]["eval"]),
        ("train", PROJECT["project"]["dependencies"] + [each for each in TRAIN if not each.startswith("torch")]),
    ],
)
def test_a_lock_satisfies_what_is_declared(lock: str, declared: list[str]) -> None:
    """Every dependency that pyproject.toml declares is pinned in its lock, at versions that it allows."""
    pins = _pins(lock)
    wrong = []
    for text in declared:
        requirement = Requirement(text)
        versions = pins.get(canonicalize_name(requirement.name), set())
        if not versions or not all(requirement.specifier.contains(version) for version in versions):
            wrong.append(f"{text}: {versions or 'not pinned'}")
    assert not wrong


def test_the_locks_agree_with_each_other() -> None:
    """A package that stands in two locks has the same versions in both."""
    dev = _pins("dev")
    different = [
        f"{name}: {lock} {sorted(versions)}, dev {sorted(dev[name])}"
        for lock in ("default", "build", "container")
        for name, versions in _pins(lock).items()
        if name in dev and dev[name] != versions
    ]
    assert not different


def test_the_training_lock_goes_with_the_others() -> None:
    """It installs beside what builds the package, and of the default set it has no version that users do not get."""
    train = _pins("train")
    different = [
        f"{name}: {lock} {sorted(versions)}, train {sorted(train[name])}"
        for lock in ("default", "build")
        for name, versions in _pins(lock).items()
        if name in train and not train[name] <= versions
    ]
    assert not different
    assert _pins("default").keys() <= train.keys()


def test_the_training_lock_tells_how_to_get_torch() -> None:
    """Torch has other hashes on other indexes: it is not in the lock, which names the version that is declared."""
    (torch,) = (each for each in TRAIN if each.startswith("torch"))
    text = (ROOT / "requirements" / "train.txt").read_text(encoding="utf-8")
    assert f"#   python -m pip install {torch}\n" in text
    assert not [name for name in _pins("train") if name.startswith(("torch", "triton", "nvidia-", "cuda-"))]
