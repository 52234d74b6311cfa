"""What the chain of detectors costs a text, up to and with the n-gram classifier.

python -m benchmarks.content_filter [--data FILE] prints a table: microseconds a text, the median and the 99th
percentile, for English that the caches know, for text of words that nobody has seen, and for short texts. With
scikit-learn installed, its own pipeline over the same kind of features stands beside it.
"""

import argparse
import random
import string
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from statistics import median, quantiles

import orjson

from freehold.content_filter.base import Detector
from freehold.content_filter.detectors import detectors_for
from freehold.content_filter.normalise import plain
from freehold.types.content_filter import FilterSettings, Passage, Side

ENGLISH = (
    "The committee met in the town hall on a rainy evening to talk about the new library. Most people wanted it near "
    "the station, because students come by train, but some were worried about the noise. After two hours they agreed "
    "to ask an architect for three drafts, and to show them to everybody who lives here before anything is decided. "
)
REPEATS = 300


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description="Measure what the content filter costs a text.")
    parser.add_argument("--data", type=Path, help="JSONL with 'prompt' or 'text': its texts of 0.8 to 1.2 kB")
    texts = _real(parser.parse_args().data) or [(ENGLISH * 4)[start : start + 1024] for start in range(0, 200, 4)]
    detectors = detectors_for(FilterSettings(name="default"), [], Side.PROMPT)
    unseen = [_unseen(number) for number in range(REPEATS)]
    rows: list[tuple[str, Sequence[str], Callable[[str], object]]] = [
        ("1 kB of English, warm", texts, lambda text: _examine(detectors, text)),
        ("200 characters, warm", [text[:200] for text in texts], lambda text: _examine(detectors, text)),
        ("1 kB of never-seen words", unseen, lambda text: _examine(detectors, text)),
        ("of it: normalising 1 kB", texts, plain),
        *((f"of it: {each.name}", texts, _alone(each)) for each in detectors),
    ]
    if peer := _scikit_learn(texts):
        rows.append(("scikit-learn's pipeline, 1 kB of English", texts, peer))
    print(f"{'text':<42}{'median us':>10}{'p99 us':>10}")
    for name, given, run in rows:
        times = _times(given, run, warm="never" not in name)
        print(f"{name:<42}{median(times):>10.0f}{quantiles(times, n=100)[98]:>10.0f}")


def _examine(detectors: Sequence[Detector], text: str) -> None:
    for detector in detectors:
        detector(Passage(text, Side.PROMPT))


def _alone(detector: Detector) -> Callable[[str], object]:
    return lambda text: detector(Passage(text, Side.PROMPT))


def _times(texts: Sequence[str], run: Callable[[str], object], *, warm: bool) -> list[float]:
    """Microseconds of processor time of each call."""
    if warm:
        for text in texts:
            run(text)
    times = []
    for number in range(REPEATS):
        text = texts[number % len(texts)]
        began = time.thread_time_ns()
        run(text)
        times.append((time.thread_time_ns() - began) / 1000)
    return times


def _real(file: Path | None) -> list[str]:
    """Texts of about 1 kB of a file."""
    if file is None:
        return []
    lines = [orjson.loads(line) for line in file.read_bytes().splitlines() if line.strip()]
    texts = [line.get("text") or line.get("prompt") for line in lines]
    return [text[:1024] for text in texts if len(text) >= 800]


def _unseen(seed: int) -> str:
    """1 kB of words that no cache has."""
    draw = random.Random(seed)  # noqa: S311
    words = ("".join(draw.choices(string.ascii_lowercase, k=draw.randint(3, 10))) for _ in range(200))
    return " ".join(words)[:1024]


def _scikit_learn(texts: Sequence[str]) -> Callable[[str], object] | None:
    """Hashed word and character n-grams and four linear heads by scikit-learn, where it is installed."""
    try:
        import numpy as np  # noqa: PLC0415  # for the comparison alone
        from sklearn.feature_extraction.text import HashingVectorizer  # noqa: PLC0415
        from sklearn.linear_model import LogisticRegression  # noqa: PLC0415
        from sklearn.pipeline import make_pipeline, make_union  # noqa: PLC0415
    except ImportError:
        return None
    features = make_union(
        HashingVectorizer(ngram_range=(1, 2), n_features=2**17),
        HashingVectorizer(analyzer="char_wb", ngram_range=(2, 5), n_features=2**17),
    )
    pipeline = make_pipeline(features, LogisticRegression())
    pipeline.fit(texts, np.arange(len(texts)) % 4)
    return lambda text: pipeline.predict_proba([text])


if __name__ == "__main__":
    main()
