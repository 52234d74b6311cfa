"""What devices can compute at most: dense products of matrices in 16 bits (bfloat16), in operations a second."""

import time
from functools import cache
from typing import Final

import torch

PEAK_FLOPS: Final = {
    "A100": 312e12,  # NVIDIA A100 datasheet
    "A10": 125e12,  # NVIDIA A10 datasheet
    "A40": 149.7e12,  # NVIDIA A40 datasheet
    "A6000": 154.8e12,  # NVIDIA RTX A6000 datasheet, half of what it says with sparsity
    "H100 PCIe": 756e12,  # NVIDIA H100 datasheet, half of what it says with sparsity; likewise below
    "H100 NVL": 835e12,
    "H100": 989.4e12,
    "H800": 989.4e12,
    "GH200": 989.4e12,  # NVIDIA GH200 datasheet
    "H200": 989.4e12,  # NVIDIA H200 datasheet
    "B200": 2250e12,  # NVIDIA Blackwell architecture brief, HGX B200
    "GB200": 2500e12,  # NVIDIA GB200 NVL72 datasheet
    "B300": 2250e12,  # NVIDIA Blackwell Ultra datasheet
    "L4": 121e12,  # NVIDIA L4 datasheet
    "L40S": 362e12,  # NVIDIA L40S datasheet
    "L40": 181e12,  # NVIDIA L40 datasheet
    "RTX 3090": 71e12,  # NVIDIA GA102 whitepaper, sums in float32
    "RTX 4090": 165.2e12,  # NVIDIA Ada whitepaper, sums in float32
    "RTX 5090": 209.5e12,  # NVIDIA RTX Blackwell whitepaper, sums in float32
    "MI250": 362.1e12,  # AMD Instinct MI250 datasheet
    "MI250X": 383e12,  # AMD Instinct MI250X datasheet
    "MI300X": 1307.4e12,  # AMD Instinct MI300X datasheet
    "MI325X": 1307.4e12,  # AMD Instinct MI325X datasheet
    "MI355X": 2516.6e12,  # AMD Instinct MI355X datasheet
}
"""By what stands in the device's name; where several fit, the longest counts."""

_SIDE: Final = 1024
_LONGEST_S: Final = 0.5


def peak(device: torch.device, dtype: torch.dtype) -> float | None:
    """The peak of a device, in operations a second; None if it is not known. A processor's is measured.

    Args:
        device: a GPU, or the processor.
        dtype: of the numbers, on a processor; a GPU's peak is that for 16 bits whatever it is used with.
    """
    return peak_of(torch.cuda.get_device_name(device)) if device.type == "cuda" else measured_peak(dtype)


def peak_of(name: str) -> float | None:
    """The peak of a device by the name that its driver gives, such as "NVIDIA H200".

    None if it is not known, or if only a slice of it is lent.
    """
    words = name.replace("-", " ").split()
    known = [known for known in PEAK_FLOPS if all(word in words for word in known.split())]
    return PEAK_FLOPS[max(known, key=len)] if known and "MIG" not in words else None


@cache
def measured_peak(dtype: torch.dtype) -> float:
    """What this processor, with the threads that torch has, reaches in products of large matrices; takes half a second.

    Args:
        dtype: of the numbers.
    """
    left, right = torch.ones(_SIDE, _SIDE, dtype=dtype), torch.ones(_SIDE, _SIDE, dtype=dtype)
    end = time.perf_counter() + _LONGEST_S
    best = float("inf")
    left @ right  # the first one makes threads and kernels
    while (begun := time.perf_counter()) < end:
        left @ right
        best = min(best, time.perf_counter() - begun)
    return 2 * _SIDE**3 / best
