"""OpenVINO without its telemetry: merely to import it as it comes tells its makers, and nothing here may call home.

Every use of OpenVINO imports it from here. Its own stand-in takes the place of the package `openvino_telemetry`, as
where that is not installed.
"""

import sys

sys.modules["openvino_telemetry"] = None  # type: ignore[assignment]  # importing it now fails, which OpenVINO expects

import openvino  # noqa: E402  # only after telemetry is out of the way

__all__ = ["openvino"]
