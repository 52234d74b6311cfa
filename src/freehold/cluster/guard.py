"""Starts an engine so that it cannot outlive the gateway, however the gateway ends.

Runs as a script of its own in front of every engine, on the bare standard library, in a few milliseconds:
`python -I -S guard.py {exec|watch} GATEWAY_PID -- ARGV…`

- `exec` (Linux) asks the kernel to kill this process when the gateway dies, more exactly when the thread that
  started it ends, which is the event loop's; then becomes the engine. The request survives `execv`, needs no
  cooperation of the engine and holds while native code keeps the interpreter's lock. Processes that the engine
  starts are not tied in this way. See prctl(2), PR_SET_PDEATHSIG.
- `watch` (other systems) stays the engine's parent and kills the whole process group as soon as its standard
  input, a pipe that the gateway holds open, ends.

The gateway makes it the leader of a session, and thereby of a process group, of its own.
"""

import os
import signal
import sys
import threading

PR_SET_PDEATHSIG = 1
"""From <linux/prctl.h>."""

_NOT_STARTED = 127


def guard_argv(argv: tuple[str, ...], *, platform: str = sys.platform) -> list[str]:
    """The arguments that start `argv` under guard on that platform, tied to this process."""
    mode = "exec" if platform == "linux" else "watch"
    return [sys.executable, "-I", "-S", __file__, mode, str(os.getpid()), "--", *argv]


def _become(argv: list[str], gateway_pid: int) -> None:
    """Tie this process to the gateway's life and become the engine. Returns never."""
    import ctypes  # noqa: PLC0415  # costs milliseconds, and only this mode needs it

    if ctypes.CDLL(None, use_errno=True).prctl(PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0) != 0:
        sys.exit(f"guard: prctl: {os.strerror(ctypes.get_errno())}")
    if os.getppid() != gateway_pid:
        sys.exit("guard: the gateway has gone")
    os.execvp(argv[0], argv)  # noqa: S606  # no shell is wanted


def _watch(argv: list[str]) -> int:
    """Run the engine as a child; kill the group when standard input ends. Returns the child's wait status."""
    if os.getpgrp() != os.getpid():
        os.setsid()
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        signal.signal(number, lambda *_: None)  # the engine has the signal too; a handler is not inherited
    child = os.fork()
    if child == 0:
        try:
            os.execvp(argv[0], argv)  # noqa: S606  # no shell is wanted
        finally:
            os._exit(_NOT_STARTED)
    threading.Thread(target=_kill_at_end_of_input, daemon=True).start()
    return os.waitpid(child, 0)[1]


def _kill_at_end_of_input() -> None:
    """Block until the gateway's end of the pipe is closed, then kill this process group."""
    while os.read(0, 4096):
        pass
    os.killpg(os.getpgrp(), signal.SIGKILL)


def _end_like(status: int) -> None:
    """End this process as the child with that wait status ended."""
    code = os.waitstatus_to_exitcode(status)
    if code < 0:
        if -code not in {signal.SIGKILL, signal.SIGSTOP}:
            signal.signal(-code, signal.SIG_DFL)
        os.kill(os.getpid(), -code)
    os._exit(code & 0xFF)


def main(arguments: list[str]) -> None:
    """Take the arguments that `guard_argv` made."""
    mode, gateway_pid, _, *argv = arguments
    try:
        if mode == "exec":
            _become(argv, int(gateway_pid))
        else:
            _end_like(_watch(argv))
    except OSError as exc:
        sys.exit(f"guard: {argv[0]}: {exc.strerror}")


if __name__ == "__main__":
    main(sys.argv[1:])
