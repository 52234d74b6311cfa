"""How the processes of the program on several nodes find each other, and how each ends with the others.

As of https://docs.vllm.ai/en/stable/serving/parallelism_scaling/: the process of rank 0 listens at the master's address
and port, the others come there; it serves HTTP only when all are there. Each has its own address (`VLLM_HOST_IP`) and
sees as many GPUs as its part of the world needs.
"""

import argparse
import os
import socket
import sys
import threading
import time
from collections.abc import Mapping

JOIN_S = 120.0
"""How long the others are waited for."""


def meet(given: argparse.Namespace, environment: Mapping[str, str]) -> None:
    """Return in the process of rank 0 when all others are there; in theirs never: they end when it does."""
    _check_place(given, environment)
    if given.node_rank == 0:
        threading.Thread(target=_end_with, args=(_joined(given),), daemon=True).start()
        return
    master = _reached(given)
    master.sendall(f"{given.node_rank} {environment['VLLM_HOST_IP']}\n".encode())
    sys.stdout.write(f"headless, rank {given.node_rank} of {given.nnodes}\n")
    sys.stdout.flush()
    _end_with([master])


def _check_place(given: argparse.Namespace, environment: Mapping[str, str]) -> None:
    local = (given.tensor_parallel_size or 1) * (given.pipeline_parallel_size or 1) // given.nnodes
    visible = environment.get("CUDA_VISIBLE_DEVICES")
    if visible is not None and len([each for each in visible.split(",") if each]) < local:
        sys.exit(f"ValueError: {local} GPUs are needed on this node, and these are visible: {visible}")
    host = environment.get("VLLM_HOST_IP", "")
    if host in {"", "127.0.0.1"} or (given.node_rank == 0 and host != given.master_addr):
        sys.exit(f"ValueError: VLLM_HOST_IP is '{host}', at which the other nodes cannot reach this one")


def _joined(given: argparse.Namespace) -> list[socket.socket]:
    """The connections of all others."""
    found: dict[int, socket.socket] = {}
    with socket.create_server((given.master_addr, given.master_port)) as server:
        server.settimeout(JOIN_S)
        while len(found) < given.nnodes - 1:
            connection, _ = server.accept()
            connection.settimeout(JOIN_S)
            rank = int(connection.makefile().readline().split()[0])
            if rank in found or not 0 < rank < given.nnodes:
                sys.exit(f"ValueError: rank {rank} has come twice, or is none of {given.nnodes}")
            found[rank] = connection
    return list(found.values())


def _reached(given: argparse.Namespace) -> socket.socket:
    deadline = time.monotonic() + JOIN_S
    while True:
        try:
            return socket.create_connection((given.master_addr, given.master_port))
        except OSError:
            if time.monotonic() > deadline:
                raise
            time.sleep(0.05)


def _end_with(others: list[socket.socket]) -> None:
    """End this process when one of the others has ended."""
    ends = [threading.Thread(target=_wait_for_end, args=(other,), daemon=True) for other in others]
    for end in ends:
        end.start()
    for end in ends:
        end.join()


def _wait_for_end(other: socket.socket) -> None:
    other.settimeout(None)
    try:
        while other.recv(1024):
            pass
    except OSError:
        pass
    sys.stderr.write("RuntimeError: another node's process has ended\n")
    sys.stderr.flush()
    os._exit(1)
