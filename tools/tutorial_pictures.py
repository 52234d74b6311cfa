"""Put the pictures that tests/web/test_first_steps.py took into docs/tutorial/pictures/; run by `make pictures`."""

from pathlib import Path

from PIL import Image

ROOT = Path(__file__).resolve().parent.parent
TAKEN = ROOT / "build" / "screenshots"
SHOWN = ROOT / "docs" / "tutorial" / "pictures"


def main() -> None:
    """Compress each picture."""
    for file in sorted(TAKEN.glob("tutorial-*.png")):
        with Image.open(file) as picture:
            picture.convert("RGB").save(SHOWN / f"{file.stem}.webp", quality=82, method=6)


if __name__ == "__main__":
    main()
