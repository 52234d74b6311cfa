"""The state of a training as named tensors: what a checkpoint has, in safetensors, for any number of processes.

- `weights/NAME`: parameters and persistent buffers, by the model's own names
- `optimizer/NAME/KEY`: what an optimizer remembers of a parameter
- `extra/NAME`: what the loop adds, such as averaged weights
- `random/DEVICE/RANK`: torch's random generators of one process

A tensor that is split over processes (a DTensor) has one name, and each process has a part of it at an offset. Files
say the offsets as PyTorch's own reader wants them (`torch.distributed.checkpoint.HuggingFaceStorageReader`), which
finds the parts that any other layout needs.
"""

import json
import warnings
from collections.abc import Iterable, Mapping, Sequence
from itertools import chain
from pathlib import Path
from typing import Any, Final

import torch
from torch import Tensor, nn
from torch.distributed import checkpoint as torch_checkpoint
from torch.distributed.tensor import DTensor
from torch.optim import Optimizer

from freehold.errors import ConfigError

_WRAPPERS: Final = ("_orig_mod.", "_checkpoint_wrapped_module.")
"""What `torch.compile` and activation checkpointing put into the names of parameters."""
_OFFSETS: Final = "DCP_SHARDING_INFO"
"""Where PyTorch's reader looks for the offsets of parts in a file's metadata."""


def named(model: nn.Module) -> dict[str, Tensor]:
    """The parameters and persistent buffers of a model, each once, without what wrappers add to names."""
    found: dict[str, Tensor] = {}
    seen = set()
    for name, tensor in model.state_dict(keep_vars=True).items():
        if isinstance(tensor, Tensor) and id(tensor) not in seen:
            seen.add(id(tensor))
            found[_plain(name)] = tensor
    return found


def tensors_of(
    model: nn.Module, optimizers: Sequence[Optimizer], extra: Mapping[str, Tensor], rank: int
) -> dict[str, Tensor]:
    """All that is to be written down, by name; parts of it lie on other processes."""
    weights = named(model)
    names = {id(tensor): name for name, tensor in weights.items()}
    state = {f"weights/{name}": tensor for name, tensor in weights.items()}
    for parameter, remembered in chain.from_iterable(optimizer.state.items() for optimizer in optimizers):
        for key, value in remembered.items():
            assert isinstance(value, Tensor), f"an optimizer remembers {key}, which is no tensor"
            state[f"optimizer/{names[id(parameter)]}/{key}"] = value
    state |= {f"extra/{name}": tensor for name, tensor in extra.items()}
    return {name: tensor.detach() for name, tensor in state.items()} | _random(rank)


def parts_of(state: Mapping[str, Tensor], rank: int) -> dict[str, tuple[Tensor, list[int]]]:
    """What of a state this process writes: each tensor's part here and its offset; of copies only the first."""
    parts = {}
    for name, tensor in state.items():
        if isinstance(tensor, DTensor):
            local, offset = tensor.to_local(), list(tensor.__create_chunk_list__()[0].offsets)
            here = _is_first_copy(tensor)
        else:
            local, offset = tensor, [0] * tensor.dim()
            here = rank == 0 or name.startswith("random/")
        if here and local.numel():
            parts[name] = (local, offset)
    return parts


def file_metadata(parts: Mapping[str, tuple[Tensor, list[int]]]) -> dict[str, str]:
    """The metadata of a safetensors file with these parts."""
    offsets = {name: {"saved_offsets": offset} for name, (_, offset) in parts.items()}
    return {"format": "pt", _OFFSETS: json.dumps(offsets)}


def fill(
    folder: Path, model: nn.Module, optimizers: Sequence[Optimizer], extra: Mapping[str, Tensor], rank: int | None
) -> None:
    """Read a state from the files of a folder into a model, its optimizers and tensors, however these are split now.

    Args:
        folder: has the files of all processes that wrote it.
        model: its parameters are filled in place.
        optimizers: of the model; what they remember is replaced.
        extra: tensors that are filled in place.
        rank: whose random generators this process goes on with; None leaves them as they are.

    Raises:
        ConfigError: the state is of a model with other names or sizes.
    """
    reader = torch_checkpoint.HuggingFaceStorageReader(str(folder))
    saved = reader.read_metadata().state_dict_metadata
    weights = named(model)
    wanted = {f"weights/{name}": tensor.detach() for name, tensor in weights.items()}
    wanted |= {f"extra/{name}": tensor.detach() for name, tensor in extra.items()}
    names = {id(tensor): name for name, tensor in weights.items()}
    remembered = [_remembered(optimizer, names, saved) for optimizer in optimizers]
    for each in remembered:
        wanted |= {name: value for states in each for name, value in states.items()}
    generators = {} if rank is None else {name: value for name, value in _random(rank).items() if name in saved}
    wanted |= generators
    _check(wanted, saved)
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="torch.distributed is disabled", category=UserWarning)
        torch_checkpoint.load(wanted, storage_reader=reader, no_dist=True)  # each process reads what it needs
    for optimizer, states in zip(optimizers, remembered, strict=True):
        tree = {
            index: {name.rpartition("/")[2]: value for name, value in each.items()} for index, each in enumerate(states)
        }
        groups = optimizer.state_dict()["param_groups"]
        optimizer.load_state_dict(
            {"state": {index: each for index, each in tree.items() if each}, "param_groups": groups}
        )
    _set_random(generators)


def _remembered(optimizer: Optimizer, names: Mapping[int, str], saved: Mapping[str, Any]) -> list[dict[str, Tensor]]:
    """Tensors for what an optimizer remembers of each of its parameters, in order, as the files have them, by name."""
    states = []
    for parameter in _parameters(optimizer):
        prefix = f"optimizer/{names[id(parameter)]}/"
        here = {}
        for name, metadata in saved.items():
            if name.startswith(prefix):
                dtype = metadata.properties.dtype
                alike = metadata.size == parameter.size()
                here[name] = (
                    torch.zeros_like(parameter.detach(), dtype=dtype)
                    if alike
                    else torch.zeros(metadata.size, dtype=dtype)
                )
        states.append(here)
    return states


def _parameters(optimizer: Optimizer) -> Iterable[Tensor]:
    return chain.from_iterable(group["params"] for group in optimizer.param_groups)


def _check(wanted: Mapping[str, Tensor], saved: Mapping[str, Any]) -> None:
    for name, tensor in wanted.items():
        if name not in saved and tensor.numel():
            raise ConfigError(f"the checkpoint has no {name}: it is of another model")
        if tensor.numel() and tuple(saved[name].size) != tuple(tensor.size()):
            raise ConfigError(f"{name} is {tuple(saved[name].size)} in the checkpoint and {tuple(tensor.size())} here")


def _is_first_copy(tensor: DTensor) -> bool:
    """Whether this process is the first of those that have the same part of a tensor."""
    coordinate = tensor.device_mesh.get_coordinate()
    if coordinate is None:
        return False
    return all(place == 0 for place, how in zip(coordinate, tensor.placements, strict=True) if how.is_replicate())


def _random(rank: int) -> dict[str, Tensor]:
    state = {f"random/cpu/{rank}": torch.get_rng_state()}
    if torch.cuda.is_available() and torch.cuda.is_initialized():
        state[f"random/cuda/{rank}"] = torch.cuda.get_rng_state()
    return state


def _set_random(state: Mapping[str, Tensor]) -> None:
    for name, value in state.items():
        if name.startswith("random/cuda/"):
            torch.cuda.set_rng_state(value)
        else:
            torch.set_rng_state(value)


def _plain(name: str) -> str:
    for wrapper in _WRAPPERS:
        name = name.replace(wrapper, "")
    return name
