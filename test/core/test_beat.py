"""Ticks and questions lie on one grid of the monotonic clock."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vla_ros.beat import ASKED_BEFORE, GATE_PERIOD, next_question, next_tick

MS = 1_000_000


@given(st.integers(0, 10**18), st.sampled_from([MS, 4 * MS, 10 * MS]))
def test_the_next_tick_is_the_first_multiple_of_the_period_that_is_later(now: int, period: int) -> None:
    tick = next_tick(now, period)
    assert tick % period == 0 and now < tick <= now + period


@given(st.floats(0.0, 1e7))
def test_a_device_is_asked_within_a_period_and_so_long_before_a_tick(now: float) -> None:
    question = next_question(now)
    assert now - 1e-8 <= question <= now + GATE_PERIOD + 1e-8
    ticks = (question + ASKED_BEFORE) / GATE_PERIOD
    assert ticks == pytest.approx(round(ticks), abs=1e-4)
