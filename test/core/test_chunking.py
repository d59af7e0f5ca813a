import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from vla_ros.action import ActionChunk
from vla_ros.chunking import LatestExecutor, Target, TemporalEnsembleExecutor, make_executor
from vla_ros.errors import GateError

S = 1_000_000_000


def chunk(values: list[float], stamp: float = 0.0, dt: float = 0.1) -> ActionChunk:
    rows = np.array(values, dtype=np.float64)[:, None]
    return ActionChunk(values=rows, names=("a.pos",), space="joint_position", stamp=round(stamp * S), dt=dt)


def at(executor: LatestExecutor | TemporalEnsembleExecutor, t: float) -> float:
    target = executor.target(round(t * S))
    assert isinstance(target, Target)
    return float(target.values[0])


@pytest.mark.parametrize("name", ["latest", "ensemble"])
def test_without_a_chunk_there_is_no_target(name: str) -> None:
    executor = make_executor(name)
    assert executor.target(0) is None
    executor.add(chunk([1.0]), 0)
    executor.clear()
    assert executor.target(0) is None


def test_an_unknown_executor_is_refused_with_the_valid_ones() -> None:
    with pytest.raises(GateError, match="ensemble, latest"):
        make_executor("lattest")


@pytest.mark.parametrize("name", ["latest", "ensemble"])
def test_point_i_is_reached_at_stamp_plus_i_plus_one_steps(name: str) -> None:
    executor = make_executor(name)
    executor.add(chunk([1.0, 2.0, 4.0], stamp=5.0), 5 * S)
    for i, value in enumerate([1.0, 2.0, 4.0]):
        assert at(executor, 5.0 + 0.1 * (i + 1)) == pytest.approx(value)


@pytest.mark.parametrize("name", ["latest", "ensemble"])
def test_after_the_last_point_the_target_stays_there_at_rest(name: str) -> None:
    executor = make_executor(name)
    executor.add(chunk([1.0, 2.0]), 0)
    target = executor.target(5 * S)
    assert target is not None
    assert target.values == pytest.approx([2.0])
    assert target.velocities == pytest.approx([0.0])


def test_the_velocity_is_the_slope_of_the_values() -> None:
    executor = LatestExecutor()
    executor.add(chunk([0.0, 0.1, 0.3, 0.6, 0.7]), 0)
    for t in np.arange(0.1, 0.49, 0.013):
        a, b, target = at(executor, t), at(executor, t + 1e-5), executor.target(round((t + 0.5e-5) * S))
        assert target is not None
        assert target.velocities[0] == pytest.approx((b - a) / 1e-5, abs=1e-3)


@given(values=st.lists(st.floats(-3, 3), min_size=2, max_size=8), t=st.floats(0, 1))
@settings(deadline=None)
def test_between_points_the_target_stays_between_their_values(values: list[float], t: float) -> None:
    executor = LatestExecutor()
    executor.add(chunk(values), 0)
    assert min(values) - 1e-9 <= at(executor, t) <= max(values) + 1e-9


def test_a_newer_chunk_takes_over_without_a_jump_and_wins_after_the_blend() -> None:
    executor = LatestExecutor(blend=0.06)
    executor.add(chunk([0.0] * 10), 0)
    before = at(executor, 0.30)
    executor.add(chunk([1.0] * 10, stamp=0.2), round(0.3 * S))
    path = [at(executor, 0.31 + 0.01 * k) for k in range(10)]
    assert path[0] == pytest.approx(before)
    assert np.max(np.abs(np.diff(path))) < 0.2
    assert path[-1] == pytest.approx(1.0)


def test_chunks_that_agree_are_followed_without_lag() -> None:
    executor = LatestExecutor()
    worst = 0.0
    for k in range(100):
        t = 0.01 * k
        if k % 10 == 0:
            executor.add(chunk([t + 0.1 * (i + 1) for i in range(8)], stamp=t), round(t * S))
        if k >= 10:
            worst = max(worst, abs(at(executor, t) - t))
    assert worst < 1e-9


def test_single_point_chunks_in_time_make_one_line() -> None:
    executor = LatestExecutor()
    executor.add(chunk([0.0]), 0)
    assert at(executor, 0.1) == 0.0
    executor.add(chunk([1.0], stamp=0.1), round(0.1 * S))
    assert [at(executor, t) for t in (0.1, 0.125, 0.15, 0.2)] == pytest.approx([0.0, 0.25, 0.5, 1.0])


def test_the_ensemble_weighs_the_oldest_most() -> None:
    executor = TemporalEnsembleExecutor(m=0.5)
    executor.add(chunk([0.0] * 10), 0)
    executor.add(chunk([1.0] * 10, stamp=0.1), 0)
    executor.add(chunk([3.0] * 10, stamp=0.2), 0)
    w = np.exp(-0.5 * np.arange(3))
    assert at(executor, 0.35) == pytest.approx((w @ [0.0, 1.0, 3.0]) / w.sum())


def test_the_ensemble_forgets_chunks_that_have_ended() -> None:
    executor = TemporalEnsembleExecutor()
    executor.add(chunk([0.0, 0.0]), 0)
    executor.add(chunk([1.0] * 10, stamp=0.1), 0)
    assert at(executor, 0.5) == pytest.approx(1.0)
