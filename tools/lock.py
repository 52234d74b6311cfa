"""Write requirements/*.txt: every dependency at one version, with hashes, for every platform and Python.

Run by `make lock`. `default.txt` is what users install, `build.txt` what builds the package, `dev.txt` the
default set and what the tests need, with the same versions.
"""

import subprocess
import sys
import tomllib
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
OUT = ROOT / "requirements"


def compile_lock(name: str, requirements: list[str], constraints: list[str]) -> None:
    """Resolve `requirements` under the locks named in `constraints` and write requirements/NAME.txt."""
    argv = [sys.executable, "-m", "uv", "pip", "compile", "--universal", "--generate-hashes", "--no-header"]
    argv += ["--quiet", "--upgrade", "--python-version", "3.11", "--no-emit-index-url", "--no-annotate"]
    for constraint in constraints:
        argv += ["--constraint", str(OUT / f"{constraint}.txt")]
    argv += ["--output-file", str(OUT / f"{name}.txt"), "-"]
    subprocess.run(argv, input="\n".join(requirements), text=True, check=True, cwd=ROOT)


def main() -> None:
    """Compile the three locks from pyproject.toml."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    default = project["project"]["dependencies"]
    dev = project["dependency-groups"]["dev"]
    compile_lock("default", default, [])
    compile_lock("build", [r for r in dev if r.startswith(("hatchling", "editables"))], ["default"])
    compile_lock("dev", [*default, *dev], ["default", "build"])


if __name__ == "__main__":
    main()
