"""Several datasets read as one."""

import numpy as np
import pytest
from recordings import FRONT, number_of, record, small_contract

from vla_ros.data.joined import JoinedDataset
from vla_ros.errors import DatasetError


def test_without_datasets_there_is_nothing_to_join():
    with pytest.raises(DatasetError, match="no dataset"):
        JoinedDataset([])


def test_joined_datasets_read_as_one_and_tell_their_episodes_apart(tmp_path):
    record(tmp_path / "a", (3, 4), tasks=("left",))
    record(tmp_path / "b", (5,), tasks=("right",))
    joined = JoinedDataset([tmp_path / "a", tmp_path / "b"])
    assert joined.num_frames == 12 and [e.length for e in joined.episodes] == [3, 4, 5]
    assert [e.task for e in joined.episodes] == ["left", "left", "right"]
    np.testing.assert_array_equal(joined.column("observation.state")[:, 0], [0, 1, 2, 0, 1, 2, 3, 0, 1, 2, 3, 4])
    assert [number_of(f) for f in joined.frames(FRONT, 2)] == [0, 1, 2, 3, 4]
    with pytest.raises(DatasetError, match=r"no episode 3; valid: 0\.\.2"):
        joined.frames(FRONT, 3)


def test_datasets_of_different_contracts_are_not_joined(tmp_path):
    record(tmp_path / "a", (3,))
    record(tmp_path / "b", (3,), contract=small_contract(rate=15))
    with pytest.raises(DatasetError, match="cannot be joined"):
        JoinedDataset([tmp_path / "a", tmp_path / "b"])
