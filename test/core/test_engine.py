"""The same work gives the same results in this process, in several, and on an existing Dask or Ray."""

from __future__ import annotations

import math
import os
from pathlib import Path

import pytest
from recordings import small_contract
from spoiled import demonstrate

from vla_ros.data import Dataset
from vla_ros.data.bags.many import from_bags
from vla_ros.data.bags.writing import to_bag
from vla_ros.data.tools.check import check_dataset
from vla_ros.data.tools.engine import run
from vla_ros.data.tools.restat import restat
from vla_ros.errors import DatasetError

ITEMS = [1, 4, 9, 16, 25]
WANT = [1.0, 2.0, 3.0, 4.0, 5.0]


@pytest.mark.parametrize("jobs", [1, 2])
def test_results_come_in_the_order_of_the_items(jobs: int) -> None:
    assert run(math.sqrt, ITEMS, jobs=jobs) == WANT


def test_an_error_in_a_worker_is_raised_here() -> None:
    with pytest.raises(ValueError, match="sqrt|math domain|expected a nonnegative"):
        run(math.sqrt, [1, -1], jobs=2)


@pytest.mark.parametrize("engine", ["threads", "dask", "ray:"])
def test_an_unknown_engine_is_refused_with_the_valid_ones(engine: str) -> None:
    with pytest.raises(DatasetError, match="valid: dask:ADDRESS, processes, ray:ADDRESS"):
        run(math.sqrt, ITEMS, engine=engine)


def test_no_jobs_are_refused() -> None:
    with pytest.raises(DatasetError, match="jobs 0"):
        run(math.sqrt, ITEMS, jobs=0)


@pytest.mark.slow
def test_an_existing_dask_does_the_work(tmp_path: Path) -> None:
    distributed = pytest.importorskip("distributed", reason="dask[distributed] is not installed")
    root = demonstrate(tmp_path / "set", episodes=2, rows=40)
    (root / "data/chunk-000/file-001.parquet").write_bytes(b"not parquet")
    with distributed.LocalCluster(n_workers=1, threads_per_worker=1, dashboard_address=None) as cluster:
        engine = f"dask:{cluster.scheduler_address}"
        assert run(math.sqrt, ITEMS, engine=engine) == WANT
        assert check_dataset(root, engine=engine).findings == check_dataset(root).findings != []


def test_a_dask_that_does_not_answer_is_one_clear_error(monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("distributed", reason="dask[distributed] is not installed")
    monkeypatch.setattr("vla_ros.data.tools.engine.CONNECT", 1.0)
    with pytest.raises(DatasetError, match=r"no Dask scheduler answers at 'tcp://127.0.0.1:1'"):
        run(math.sqrt, ITEMS, engine="dask:tcp://127.0.0.1:1")


def test_a_ray_that_does_not_answer_is_one_clear_error() -> None:
    pytest.importorskip("ray", reason="ray is not installed")
    with pytest.raises(DatasetError, match=r"no Ray answers at '127.0.0.1:1'"):
        run(math.sqrt, ITEMS, engine="ray:127.0.0.1:1")


@pytest.mark.slow
def test_an_existing_ray_does_the_work(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RAY_ENABLE_UV_RUN_RUNTIME_ENV", "0")
    ray = pytest.importorskip("ray", reason="ray is not installed")
    root = demonstrate(tmp_path / "set", episodes=2, rows=40)
    to_bag(root, tmp_path / "bag")
    (root / "data/chunk-000/file-001.parquet").write_bytes(b"not parquet")
    paths = [str(Path(__file__).parents[2]), *os.environ.get("PYTHONPATH", "").split(os.pathsep)]
    environment = {"env_vars": {"PYTHONPATH": os.pathsep.join(filter(None, paths))}}
    ray.init(num_cpus=1, include_dashboard=False, log_to_driver=False, runtime_env=environment)
    try:
        assert run(math.sqrt, ITEMS, engine="ray:auto") == WANT
        assert check_dataset(root, engine="ray:auto").findings == check_dataset(root).findings != []
        from_bags([tmp_path / "bag"], small_contract(), tmp_path / "again", engine="ray:auto")
        assert Dataset(tmp_path / "again").num_episodes == 2
        assert restat(tmp_path / "again", engine="ray:auto") == []
    finally:
        ray.shutdown()
