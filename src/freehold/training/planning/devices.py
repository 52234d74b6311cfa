"""What accelerators do: their makers' figures, and the share of them that a training reaches.

The peaks are dense (without structured sparsity). The shares are assumptions of the roofline, chosen from what large
products of matrices are reported to reach on each; a plan states them, and docs/how-to/plan-a-training.md lists them.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from freehold.errors import ConfigError

GIB: Final = 1 << 30
TERA: Final = 1e12
GIGA: Final = 1e9
CPU: Final = "cpu"
"""The name of this machine's processor, which is measured instead of being listed."""


@dataclass(frozen=True, slots=True)
class Device:
    """One accelerator as a roofline sees it.

    Args:
        name: as `--gpu` takes it.
        memory_bytes: that a program can take.
        flops: operations a second of products in bfloat16, at most.
        flops_8bit: likewise in 8 bits; None where it has no such units.
        bandwidth_bytes_s: of its memory.
        link_bytes_s: to the other devices of its node, in one direction.
        network_bytes_s: to devices of other nodes, in one direction, where the caller does not say.
        node: devices of a node that the link joins.
        matrix_share: of `flops`, what large products of matrices reach.
        attention_share: of `flops`, what attention reaches.
        memory_share: of the bandwidth, what passes over long vectors reach.
        link_share: of link and network, what collectives reach.
        kernel_s: until a kernel is started.
        hop_s: that a collective takes for each step of its ring, however little it carries.
        process_bytes: that the runtime and its collectives take.
    """

    name: str
    memory_bytes: int
    flops: float
    flops_8bit: float | None
    bandwidth_bytes_s: float
    link_bytes_s: float
    network_bytes_s: float
    node: int = 8
    matrix_share: float = 0.72
    attention_share: float = 0.45
    memory_share: float = 0.8
    link_share: float = 0.8
    kernel_s: float = 5e-6
    hop_s: float = 2e-6
    process_bytes: int = 2 * GIB


_400_GBIT: Final = 50 * GIGA

DEVICES: Final[Mapping[str, Device]] = {
    device.name: device
    for device in (
        # NVIDIA A100 Tensor Core GPU data sheet (SXM, 80 GB): 312 TFLOPS, 2,039 GB/s, NVLink 600 GB/s both ways.
        Device("a100", 79 * GIB, 312 * TERA, None, 2039 * GIGA, 300 * GIGA, 25 * GIGA, matrix_share=0.8),
        # NVIDIA H100 Tensor Core GPU data sheet (SXM): 1,979 TFLOPS with sparsity, 3.35 TB/s, NVLink 900 GB/s.
        Device("h100", 79 * GIB, 989 * TERA, 1979 * TERA, 3350 * GIGA, 450 * GIGA, _400_GBIT),
        # NVIDIA H200 Tensor Core GPU data sheet (SXM): the H100's units with 141 GB at 4.8 TB/s.
        Device("h200", 139 * GIB, 989 * TERA, 1979 * TERA, 4800 * GIGA, 450 * GIGA, _400_GBIT),
        # NVIDIA DGX B200 data sheet, by eight: 180 GB, 8 TB/s, 36 PFLOPS of 8 bits dense, NVLink 14.4 TB/s both ways.
        Device("b200", 178 * GIB, 2250 * TERA, 4500 * TERA, 8000 * GIGA, 900 * GIGA, _400_GBIT),
        # NVIDIA L40S data sheet: 362 TFLOPS, 864 GB/s, PCIe 4.0 x16 with 64 GB/s both ways.
        Device("l40s", 44 * GIB, 362 * TERA, 733 * TERA, 864 * GIGA, 32 * GIGA, 12.5 * GIGA, link_share=0.6),
        # NVIDIA Ada GPU Architecture white paper, RTX 4090: 165.2 TFLOPS with sums in 32 bits, 1,008 GB/s, no NVLink.
        Device("rtx4090", 23 * GIB, 165.2 * TERA, 330.3 * TERA, 1008 * GIGA, 32 * GIGA, 3 * GIGA, link_share=0.4),
        # AMD Instinct MI300X data sheet: 1,307 TFLOPS, 5.3 TB/s, seven Infinity Fabric links of 128 GB/s both ways.
        Device("mi300x", 191 * GIB, 1307 * TERA, 2615 * TERA, 5300 * GIGA, 448 * GIGA, _400_GBIT, matrix_share=0.5),
    )
}


def device_named(name: str) -> Device:
    """An accelerator by its name.

    Raises:
        ConfigError: there is none of that name.
    """
    try:
        return DEVICES[name.lower()]
    except KeyError:
        known = ", ".join([*DEVICES, CPU])
        raise ConfigError(f"nothing is known of the device '{name}'; there are: {known}") from None
