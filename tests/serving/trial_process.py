"""The process of the trial engine: a line protocol on a Unix socket, and every bad habit that a test asks for.

Run as `python -I -S trial_process.py OPTIONS_JSON SOCKET`, on the standard library alone.
"""

import asyncio
import json
import os
import signal
import sys
import time
from pathlib import Path
from typing import Any


async def serve(options: dict[str, Any], socket: str) -> None:
    """Answer `open` and `check` at once, and `work N` after N seconds."""
    dead_while = Path(options.get("dead_while", "/nonexistent"))
    ready_at = time.monotonic() + options.get("load_s", 0.0)

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while line := (await reader.readline()).decode().split():
            if line[0] == "work":
                await asyncio.sleep(float(line[1]))
            waiting = line[0] == "open" and time.monotonic() < ready_at
            dead = line[0] == "check" and dead_while.exists()  # noqa: ASYNC240
            writer.write(b"wait\n" if waiting or dead else f"{os.getpid()}\n".encode())
        writer.close()

    server = await asyncio.start_unix_server(answer, socket)
    async with server:
        await server.serve_forever()


def main() -> None:
    """Misbehave as told, then serve."""
    options, socket = json.loads(sys.argv[1]), sys.argv[2]
    if "starts_file" in options:
        with Path(options["starts_file"]).open("a") as file:
            file.write(f"{os.getpid()}\n")
    if options.get("ignore_sigterm"):
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
    if "child" in options:
        child = os.fork()
        if child == 0:
            time.sleep(600)
            os._exit(0)
        Path(options["child"]).write_text(str(child))
    for number in range(options.get("complaints", 0)):
        sys.stderr.write(f"complaint {number}\n")
    sys.stderr.flush()
    if "exit_with" in options and not Path(options.get("exit_unless", "/nonexistent")).exists():
        sys.exit(options["exit_with"])
    asyncio.run(serve(options, socket))


if __name__ == "__main__":
    main()
