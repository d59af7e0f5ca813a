"""Work over many episodes: in this process, in several here, or on an existing Dask or Ray.

A name of an engine is ``processes``, ``dask:ADDRESS`` (of a scheduler) or ``ray:ADDRESS`` (``auto``: the one
on this machine). Workers elsewhere need this package and the dataset under the same path.
"""

from __future__ import annotations

import multiprocessing
import socket
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from typing import Any, TypeVar

from vla_ros.errors import DatasetError, unknown_name

Item = TypeVar("Item")
Result = TypeVar("Result")
ENGINES = ("processes", "dask:ADDRESS", "ray:ADDRESS")
CONNECT = 10.0  # [s]


def run(
    work: Callable[[Item], Result], items: Sequence[Item], jobs: int = 1, engine: str = "processes"
) -> list[Result]:
    """Return ``work(item)`` of every item, in order. `work` is a function of a module.

    jobs: processes of the engine ``processes``; one means this very process. Raises DatasetError for an
    unknown engine, one that does not answer, or workers that die.
    """
    name, _, address = engine.partition(":")
    if name == "processes":
        return _processes(work, items, jobs)
    if name == "dask" and address:
        return _dask(work, items, address)
    if name == "ray" and address:
        return _ray(work, items, address)
    raise DatasetError(unknown_name("engine", engine, ENGINES))


def _processes(work: Callable[[Item], Result], items: Sequence[Item], jobs: int) -> list[Result]:
    if jobs < 1:
        raise DatasetError(f"jobs {jobs}: want a whole number from 1 on")
    if jobs == 1 or len(items) < 2:
        return [work(item) for item in items]
    context = multiprocessing.get_context("spawn")  # Arrow and the decoders have threads: no fork
    with ProcessPoolExecutor(min(jobs, len(items)), mp_context=context) as pool:
        try:
            return list(pool.map(work, items, chunksize=max(1, len(items) // (8 * jobs))))
        except BrokenProcessPool as error:
            raise DatasetError(f"a worker process died: {error}") from None


def _dask(work: Callable[[Item], Result], items: Sequence[Item], address: str) -> list[Result]:
    try:
        from distributed import Client
    except ImportError:
        raise DatasetError("engine 'dask' needs the package distributed: pip install 'dask[distributed]'") from None
    try:
        client: Any = Client(address, timeout=CONNECT, set_as_default=False)
    except (OSError, ValueError) as error:
        raise DatasetError(f"no Dask scheduler answers at '{address}': {error}") from None
    with client:
        return list(client.gather(client.map(work, items, pure=False)))


def _apply(work: Callable[[Item], Result], item: Item) -> Result:
    return work(item)


def _ray(work: Callable[[Item], Result], items: Sequence[Item], address: str) -> list[Result]:
    try:
        import ray
    except ImportError:
        raise DatasetError("engine 'ray' needs the package ray: pip install ray") from None
    started = not ray.is_initialized()
    host, _, port = address.rpartition(":")
    try:
        if host and port.isdecimal():  # Ray itself takes a minute to notice that nobody is there
            socket.create_connection((host, int(port)), CONNECT).close()
        ray.init(address=address, ignore_reinit_error=True, log_to_driver=False)
    except (OSError, ValueError) as error:
        raise DatasetError(f"no Ray answers at '{address}': {error}") from None
    try:
        apply = ray.remote(_apply)  # Ray takes functions written in Python alone
        return list(ray.get([apply.remote(work, item) for item in items]))
    finally:
        if started:
            ray.shutdown()
