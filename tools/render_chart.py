"""Render deploy/helm/freehold into deploy/rendered, as the values files there say.

Run as `python -m tools.render_chart`, with Helm in the virtual environment (`make helm`) or on PATH. What is written is
looked at by tests/deploy, also where there is no Helm: `chart.sha256` tells of which chart it was made.
"""

import hashlib
import shutil
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
CHART = ROOT / "deploy" / "helm" / "freehold"
RENDERED = ROOT / "deploy" / "rendered"
DIGEST = RENDERED / "chart.sha256"


def helm() -> str | None:
    """Where Helm is; None if it is nowhere."""
    own = Path(sys.prefix) / "bin" / "helm"
    return str(own) if own.exists() else shutil.which("helm")


def cases() -> list[str]:
    """The names of the values files."""
    return sorted(path.name.removesuffix(".values.yaml") for path in RENDERED.glob("*.values.yaml"))


def digest() -> str:
    """The digest in hex of the chart and of all values, by the lines `<digest>  <path>`."""
    files = sorted([path for path in CHART.rglob("*") if path.is_file()] + list(RENDERED.glob("*.values.yaml")))
    lines = (
        f"{hashlib.sha256(path.read_bytes()).hexdigest()}  {path.relative_to(ROOT).as_posix()}\n" for path in files
    )
    return hashlib.sha256("".join(lines).encode()).hexdigest()


def render(case: str, program: str) -> str:
    """The manifests of one values file.

    Raises:
        subprocess.CalledProcessError: Helm refuses; its reason is in `stderr`.
    """
    values = RENDERED / f"{case}.values.yaml"
    argv = [program, "template", "freehold", str(CHART), "--namespace", "freehold", "--values", str(values)]
    return subprocess.run(argv, check=True, capture_output=True, text=True).stdout


def main() -> None:
    """Render all."""
    program = helm()
    if program is None:
        sys.exit("there is no helm: run 'make helm'")
    for case in cases():
        (RENDERED / f"{case}.yaml").write_text(render(case, program), encoding="utf-8")
    DIGEST.write_text(f"{digest()}\n", encoding="utf-8")


if __name__ == "__main__":
    main()
