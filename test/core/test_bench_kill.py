"""The kill test, in short."""

from __future__ import annotations

from pathlib import Path

import pytest

from vla_ros.data.bench_kill import record_kill
from vla_ros.errors import DatasetError


@pytest.mark.slow
def test_a_few_kills_lose_nothing_that_was_saved(tmp_path: Path) -> None:
    report = record_kill(4, tmp_path / "set", seed=3)
    assert report.kills == 4 and report.good, report.text


def test_a_folder_that_exists_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DatasetError, match="exists; want a new folder"):
        record_kill(1, tmp_path)
