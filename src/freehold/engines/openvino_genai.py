"""OpenVINO GenAI without telemetry; every use of it imports it from here. It comes with the extra `[openvino]`."""

from freehold.engines.openvino_runtime import openvino  # first: it takes telemetry out of the way

try:
    import openvino_genai
except ImportError as exc:
    raise ImportError(
        f"openvino-genai cannot be imported ({exc}). It comes with the extra: pip install 'freehold[openvino]'; its "
        f"version must be that of openvino, which is {openvino.__version__.partition('-')[0]}."
    ) from exc

__all__ = ["openvino_genai"]
