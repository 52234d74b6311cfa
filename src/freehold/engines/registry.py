"""The engines there are, by name. Each is imported only when a deployment asks for it."""

from importlib import import_module

from freehold.engines.base import Engine
from freehold.errors import ConfigError

ENGINES: dict[str, str] = {
    "diffusers": "freehold.engines.diffusers:DiffusersEngine",
    "echo": "freehold.engines.echo:EchoEngine",
    "llamacpp": "freehold.engines.llamacpp:LlamaCppEngine",
    "openvino": "freehold.engines.openvino:OpenVinoEngine",
    "openvino_images": "freehold.engines.openvino_images:OpenVinoImagesEngine",
    "painter": "freehold.engines.painter:PainterEngine",
    "remote": "freehold.engines.remote:RemoteEngine",
    "vllm": "freehold.engines.vllm:VllmEngine",
}
"""Name → "module:Class"."""

AUTO = "llamacpp"
"""Of those that `engine = "auto"` stands for the one with every feature; see `freehold.engines.auto`."""


def get_engine(name: str) -> Engine:
    """The engine of that name; of those that `auto` stands for the one with every feature.

    Raises:
        ConfigError: there is none.
    """
    target = ENGINES.get(AUTO if name == "auto" else name)
    if target is None:
        raise ConfigError(f"engine: there is no engine '{name}'; there are: auto, {', '.join(sorted(ENGINES))}")
    module, _, class_name = target.partition(":")
    engine: Engine = getattr(import_module(module), class_name)()
    return engine
