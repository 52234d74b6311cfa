"""What the processes of jobs do in tests: `python -m tests.jobs.program WHAT ARGUMENTS`, each WHAT a function."""

import ctypes
import json
import mmap
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

IO_URING_SETUP = 425


def say(**message: Any) -> None:
    """Send a message."""
    sys.stdout.write(json.dumps(message) + "\n")
    sys.stdout.flush()


def refusal(attempt: Callable[[], object]) -> str:
    """The error that an attempt ends with; the empty text if it succeeds."""
    try:
        attempt()
    except OSError as exc:
        return type(exc).__name__
    return ""


def system_call(number: int) -> None:
    """Make a system call without anything."""
    if ctypes.CDLL(None, use_errno=True).syscall(number, 1, 0) < 0:
        raise OSError(ctypes.get_errno(), "refused")


def unix_datagrams(path: str) -> None:
    """Try to write to somebody's socket through a pair of sockets."""
    ours, other = socket.socketpair(socket.AF_UNIX, socket.SOCK_DGRAM)
    with ours, other:
        ours.sendto(b"hello", path)


def streams() -> None:
    """Send through a pair of sockets within this process."""
    ours, other = socket.socketpair()
    with ours, other:
        ours.sendall(b"hello")
        assert other.recv(5) == b"hello"


def attempts(port: str, path: str) -> dict[str, str]:
    """What becomes of each way to a network."""
    return {
        "inet": refusal(lambda: socket.create_connection(("127.0.0.1", int(port)))),
        "inet6": refusal(lambda: socket.socket(socket.AF_INET6)),
        "unix": refusal(lambda: socket.socket(socket.AF_UNIX).connect(path)),
        "unix datagrams": refusal(lambda: unix_datagrams(path)),
        "netlink": refusal(lambda: socket.socket(socket.AF_NETLINK, socket.SOCK_RAW)),
        "io_uring": refusal(lambda: system_call(IO_URING_SETUP)),
        "names": refusal(lambda: socket.getaddrinfo("example.com", 443)),
        "streams within": refusal(streams),
    }


def network(port: str, path: str) -> None:
    """Try, and have a child try, every way to a network."""
    say(own=attempts(port, path))
    program = [sys.executable, "-m", "tests.jobs.program", "attempt", port, path]
    done = subprocess.run(program, capture_output=True, check=False)
    say(child=json.loads(done.stdout))


def attempt(port: str, path: str) -> None:
    """Tell what becomes of each way to a network."""
    sys.stdout.write(json.dumps(attempts(port, path)))


def files(home: str, base: str, server: str) -> None:
    """Tell what becomes of attempts on files of a home, and on another process."""
    Path("own.txt").write_text("mine", encoding="utf-8")
    Path("own").mkdir()
    Path("own.txt").rename("own/moved.txt")
    tries: dict[str, Callable[[], object]] = {
        "own": lambda: Path("own/moved.txt").read_bytes(),
        "base": lambda: Path(base).read_bytes(),
        "base written": lambda: Path(base).write_bytes(b""),
        "key": lambda: Path(home, "master.key").read_bytes(),
        "link": lambda: Path(home, "jobs", "mine", "link").read_bytes(),
        "others": lambda: list(Path(home, "jobs").iterdir()),
        "new": lambda: Path(home, "new").write_bytes(b""),
        "environment": lambda: Path(f"/proc/{server}/environ").read_bytes(),
        "python": lambda: Path(os.__file__).read_bytes(),
        "signal": lambda: os.kill(int(server), 0),
    }
    say(**{name: refusal(attempt) for name, attempt in tries.items()})


def work(path: str) -> None:
    """Compute with threads, map a file and write another: what training needs."""
    sums: list[int] = []
    threads = [threading.Thread(target=lambda: sums.append(sum(range(1000)))) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    Path(path).write_bytes(b"x" * 8192)
    with Path(path).open("r+b") as file, mmap.mmap(file.fileno(), 0) as mapped:
        mapped[0:1] = b"y"
        say(sums=sums, first=mapped[0], argv=sys.argv, folder=str(Path.cwd()), core=core_limit(), paths=sys.path[:1])


def core_limit() -> str:
    """The limit of core files, as the kernel tells it."""
    rows = Path("/proc/self/limits").read_text(encoding="utf-8").splitlines()
    return next(row.split()[4] for row in rows if row.startswith("Max core"))


def memory(count: str) -> None:
    """Take that many bytes."""
    try:
        taken = len(bytearray(int(count)))
    except MemoryError:
        taken = 0
    say(taken=taken)


def echo() -> None:
    """Say what is heard, until nothing is."""
    for line in sys.stdin:
        say(heard=json.loads(line))


def greet() -> None:
    """Say that one hears, and then what."""
    say(ready=True)
    echo()


def lines(kind: str) -> None:
    """Write a line that is none."""
    say(first=True)
    whole = {"text": b"hello\n", "list": b"[1]\n", "long": b" " * (17 * 1024 * 1024) + b"\n", "torn": b'{"a": 1'}
    sys.stdout.buffer.write(whole[kind])
    sys.stdout.flush()


def end(status: str) -> None:
    """Complain, and end with that status."""
    sys.stderr.write("x" * 5000 + "the last words")
    sys.exit(int(status))


def shout(count: str) -> None:
    """Write very much to stderr, and a word that tells where it ends."""
    for _ in range(int(count)):
        sys.stderr.write("y" * 1_000_000)
    sys.stderr.write("the very end")


def fall(number: str) -> None:
    """End by that signal."""
    os.kill(os.getpid(), int(number))


def linger() -> None:
    """Start another process, tell its id and one's own, and stay."""
    child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(1000)"])
    say(child=child.pid, own=os.getpid())
    signal.pause()


def leave() -> None:
    """Start another process that holds what we write to, tell its id, and end."""
    child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(1000)"])
    say(child=child.pid)
    time.sleep(0)


if __name__ == "__main__":
    globals()[sys.argv[1]](*sys.argv[2:])
