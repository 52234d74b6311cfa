"""What this machine does, for `freehold size`: how fast it reads memory and multiplies matrices, with all its cores.

Run as `python -m freehold.cli.size_machine`, a process of its own, for it loads NumPy and OpenVINO; prints one JSON
object. OpenVINO multiplies, because its kernels choose by themselves what the processor has, whatever the environment
says of others'. Takes the best of several short tries, so that other work disturbs less.
"""

import json
import os
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Final

import numpy as np
import openvino
import openvino.opset13 as opset

READ_BYTES: Final = 1 << 29
"""More than caches hold."""
EDGE: Final = 1536
"""Of the square matrices."""
TRIES: Final = 6


def bandwidth_bytes_s(cores: int) -> float:
    """Bytes of memory that so many threads read in a second: the largest of many numbers is sought."""
    parts = [np.ones(READ_BYTES // cores // 4, dtype=np.float32) for _ in range(cores)]
    with ThreadPoolExecutor(cores) as threads:
        best = _best_s(lambda: list(threads.map(np.max, parts)))
    return sum(part.nbytes for part in parts) / best


def flops() -> float:
    """Multiplications and additions of 32-bit numbers a second in a product of matrices."""
    matrix = np.linspace(0, 1, EDGE * EDGE, dtype=np.float32).reshape(EDGE, EDGE)
    given = opset.parameter([EDGE, EDGE], np.float32)
    product = openvino.Model([opset.matmul(given, opset.constant(matrix), False, True)], [given])
    request = openvino.Core().compile_model(product, "CPU", {"INFERENCE_PRECISION_HINT": "f32"}).create_infer_request()
    request.set_input_tensor(openvino.Tensor(matrix))
    return 2 * float(EDGE) ** 3 / _best_s(request.infer)


def _best_s(work: Callable[[], Any]) -> float:
    """The least time that something takes."""
    times = []
    for _ in range(TRIES):
        started = time.perf_counter()
        work()
        times.append(time.perf_counter() - started)
    return min(times)


if __name__ == "__main__":
    available = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    print(json.dumps({"cores": available, "bandwidth_bytes_s": bandwidth_bytes_s(available), "flops": flops()}))
