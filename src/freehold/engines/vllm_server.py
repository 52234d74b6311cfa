"""The process of the `vllm` engine: starts vLLM's own server, and ends with it.

Run as `python -m freehold.engines.vllm_server --spec JSON`. vLLM starts processes of its own, which hold the GPUs. So
this one stays beside it as the leader of their group: when the gateway's end of standard input closes, however the
gateway ended, it kills them all. An adapter that fine-tuning made is written in PEFT's layout first. Exits as vLLM did;
with status 1 and one line on stderr where the model cannot be served.
"""

import argparse
import ctypes
import json
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Mapping
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Final

from freehold.engines.vllm_adapter import write_peft
from freehold.engines.vllm_arguments import adapter_arguments

MODULE: Final = "vllm.entrypoints.cli.main"
"""What the program `vllm` runs."""
PR_SET_PDEATHSIG: Final = 1
"""From <linux/prctl.h>."""
FORWARDED: Final = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)


def main() -> None:
    """Serve until vLLM ends."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--spec", required=True, help="what to serve, as JSON")
    spec = json.loads(parser.parse_args().spec)
    try:
        argv = command(spec)
        Path(spec["socket"]).unlink(missing_ok=True)
    except (ValueError, KeyError, TypeError, OSError) as exc:
        reason = " ".join(str(exc).split()) or type(exc).__name__
        sys.stderr.write(f"the model cannot be served: {reason}\n")
        sys.exit(1)
    _end_like(run(argv))


def command(spec: Mapping[str, Any]) -> list[str]:
    """The command line of vLLM, its adapter written where it has one.

    Raises:
        ValueError: vLLM is not installed, or the adapter cannot be served.
        OSError: a file cannot be read or written.
    """
    if find_spec("vllm") is None:
        raise ValueError("the package vllm is not installed: pip install 'freehold[gpu]'")
    folder = Path(spec["lora"]) if spec["lora"] is not None else None
    if spec["adapter"] is not None:
        folder = Path(f"{spec['socket']}.adapter")
        write_peft(Path(spec["adapter"]), Path(spec["model"]) / "config.json", folder)
    more = adapter_arguments(folder) if folder is not None else []
    return [sys.executable, "-m", MODULE, "serve", *spec["arguments"], *more]


def run(argv: list[str]) -> int:
    """Run a program of which nothing is left when the gateway is gone; its exit code, negative for a signal."""
    if os.getpgrp() != os.getpid():
        os.setsid()
    _ask_for_death(0)  # the guard's request would end this process before it could end the others
    for number in FORWARDED:
        signal.signal(number, lambda *_: None)  # the whole group has the signal; vLLM ends by it, and so does this
    child = subprocess.Popen(argv, stdin=subprocess.DEVNULL, preexec_fn=_die_with_parent)  # noqa: PLW1509  # no threads yet
    threading.Thread(target=_kill_at_end_of_input, daemon=True).start()
    return child.wait()


def _die_with_parent() -> None:
    """In the child: have it killed when its parent is."""
    for number in FORWARDED:
        signal.signal(number, signal.SIG_DFL)
    _ask_for_death(signal.SIGKILL)


def _ask_for_death(number: int) -> None:
    """Have the kernel send this process a signal when its parent ends; 0 for none. Linux only, see prctl(2)."""
    if sys.platform == "linux":
        ctypes.CDLL(None, use_errno=True).prctl(PR_SET_PDEATHSIG, number, 0, 0, 0)


def _kill_at_end_of_input() -> None:
    """Block until the gateway's end of the pipe is closed, then kill this process group."""
    while os.read(0, 4096):
        pass
    os.killpg(os.getpgrp(), signal.SIGKILL)


def _end_like(code: int) -> None:
    """End this process as the child ended."""
    if code < 0:
        if -code not in {signal.SIGKILL, signal.SIGSTOP}:
            signal.signal(-code, signal.SIG_DFL)
        os.kill(os.getpid(), -code)
    os._exit(code & 0xFF)


if __name__ == "__main__":
    main()
