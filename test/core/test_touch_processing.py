"""From samples to touch, on contacts whose truth is known."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from vla_ros.emulators.gel import Gel, displacement, marker_positions
from vla_ros.emulators.touching import CYCLE, DRAGGED, FREE, PRESSED, SLIPPING, Touch, taxel_forces, touch_at
from vla_ros.errors import DeviceError
from vla_ros.tactile import (
    Baseline,
    Hysteresis,
    MarkerFlow,
    PictureSlip,
    PictureTouch,
    TaxelTouch,
    Thresholds,
    TouchState,
    contact_mask,
    flow_figures,
    touch_for,
    without_markers,
)
from vla_ros.tactile.markers import find_markers
from vla_ros.tactile.slip import Rates
from vla_ros.tactile.touch import DEFAULTS

SECOND = 1_000_000_000
MICROTESLA = np.array([420.0, 420.0, -650.0])  # [uT/N] a magnetic skin's answer, its z against the normal


@pytest.fixture(scope="module")
def gel() -> Gel:
    return Gel()


class TestBaseline:
    def test_it_is_the_mean_of_the_first_samples(self) -> None:
        baseline, values = Baseline(samples=4), np.array([[1.0, 2.0], [3.0, 2.0], [1.0, 4.0], [3.0, 0.0]])
        assert [baseline.update(k, value, False) for k, value in enumerate(values)] == [None] * 4
        difference = baseline.update(4, np.array([5.0, 5.0]), False)
        np.testing.assert_allclose(difference, [3.0, 3.0], atol=1e-6)

    def test_it_follows_drift_but_not_a_contact(self) -> None:
        baseline, value = Baseline(samples=1, drift=10.0), np.zeros(3)
        baseline.update(0, value, False)
        for k in range(1, 3001):  # 30 s in which the sensor drifts by 0.3, slower than the baseline follows
            difference = baseline.update(k * SECOND // 100, np.full(3, 1e-4 * k), False)
        np.testing.assert_allclose(difference, 0.1 * (1 - np.exp(-3)), atol=2e-3)  # it lags by drift * 0.01 / s
        held = baseline.value.copy()
        for k in range(3001, 4000):
            difference = baseline.update(k * SECOND // 100, np.full(3, 5.0), True)
        np.testing.assert_array_equal(baseline.value, held)
        np.testing.assert_allclose(difference, 5.0 - held, atol=1e-5)

    def test_the_old_one_is_in_force_until_a_new_one_is_taken(self) -> None:
        baseline = Baseline(samples=2)
        for k in range(2):
            baseline.update(k, np.zeros(1), False)
        baseline.restart()
        assert not baseline.ready
        assert [float(baseline.update(k, np.ones(1), False)[0]) for k in (2, 3, 4)] == [1.0, 1.0, 0.0]
        assert (baseline.ready, baseline.number) == (True, 2)

    def test_another_sensor_begins_anew(self) -> None:
        baseline = Baseline(samples=1)
        baseline.update(0, np.zeros((4, 4, 3)), False)
        assert baseline.update(1, np.zeros((4, 6, 3)), False) is None
        assert baseline.update(2, np.ones((4, 6, 3)), False).max() == 1.0

    def test_one_of_no_samples_is_refused(self) -> None:
        with pytest.raises(DeviceError, match="a baseline of 0 samples"):
            Baseline(samples=0)


class TestHysteresis:
    def test_it_changes_only_at_the_far_threshold_and_when_confirmed(self) -> None:
        decision = Hysteresis(on=2.0, off=1.0, confirm=2)
        levels = [0.0, 2.5, 1.5, 2.1, 2.2, 1.2, 1.9, 0.5, 1.5, 0.5, 0.4, 1.9]
        states = [decision.update(k, level) for k, level in enumerate(levels)]
        assert states == [False, False, False, False, True, True, True, True, True, True, False, False]

    def test_it_holds_for_as_long_as_it_is_told(self) -> None:
        decision = Hysteresis(1.0, 0.5, hold=0.1)
        assert decision.update(0, 1.0)
        assert decision.update(SECOND // 20, 0.0)
        assert not decision.update(SECOND // 10, 0.0)

    @given(st.lists(st.floats(0, 3), max_size=100), st.integers(1, 3))
    @settings(deadline=None)
    def test_between_the_thresholds_it_never_changes(self, levels: list[float], confirm: int) -> None:
        decision = Hysteresis(2.0, 1.0, confirm)
        for k, level in enumerate(levels):
            before = decision.state
            after = decision.update(k, level)
            assert after == before or (level >= 2.0 if after else level < 1.0)

    def test_thresholds_the_wrong_way_round_are_refused(self) -> None:
        with pytest.raises(DeviceError, match="on at 1, off below 2"):
            Hysteresis(1.0, 2.0)


def test_rates_are_the_slope_over_the_window() -> None:
    rates = Rates(0.05)
    for k in range(20):
        found = rates.update(k * SECOND // 100, np.array([3.0 * k / 100, 5.0, -k / 100]))
    np.testing.assert_allclose(found, [3.0, 0.0, -1.0], atol=1e-9)


def felt(unit: str, noise: float, cycles: int = 2) -> list[tuple[float, Touch, TouchState]]:
    """Time, truth and what is felt of a 4x4 array at 100 Hz."""
    random, process = np.random.default_rng(1), touch_for(unit)
    scale = MICROTESLA if unit == "uT" else np.ones(3)
    rest = random.normal(0.0, 100 * noise, (4, 4, 3))
    found = []
    for k in range(round(cycles * CYCLE * 100)):
        truth = touch_at(k / 100)
        value = rest + scale * taxel_forces(4, 4, truth) + random.normal(0.0, noise, (4, 4, 3))
        found.append((k / 100, truth, process.process(k * SECOND // 100, value.astype(np.float32))))
    return found


@pytest.mark.parametrize(("unit", "noise"), [("N", 0.005), ("uT", 0.8)])
class TestTaxels:
    def test_contact_is_told_from_shortly_after_it_begins_until_it_ends(self, unit: str, noise: float) -> None:
        for time, truth, state in felt(unit, noise):
            if truth.press > 0.4:
                assert state.contact, time
            elif truth.press == 0 and not 3.7 <= time % CYCLE < 3.75:
                assert not state.contact, time

    def test_slip_is_told_when_the_grip_lets_go_and_only_then(self, unit: str, noise: float) -> None:
        states = felt(unit, noise)
        for time, truth, state in states:
            if not 2.7 <= time % CYCLE < 3.25:  # the window's and the hold's length after it
                assert not state.slip, (time, truth)
        for cycle in (0, 1):
            began = min(time for time, _, state in states if state.slip and time >= cycle * CYCLE)
            assert 2.7 <= began % CYCLE <= 2.8

    def test_the_figures_are_the_forces(self, unit: str, noise: float) -> None:
        scale = MICROTESLA if unit == "uT" else np.ones(3)
        _, truth, state = felt(unit, noise, 1)[round(100 * DRAGGED)]
        total = taxel_forces(4, 4, truth).sum(axis=(0, 1)) * scale
        got = [state.figures[name] for name in ("shear_x", "shear_y", "normal")]
        np.testing.assert_allclose(got, total, atol=20 * noise)


def test_a_sensor_that_drifts_is_not_taken_for_touched() -> None:
    process = TaxelTouch(Thresholds(0.15, 0.08, 2.0, samples=10, drift=5.0))
    for k in range(6000):  # a minute, by 0.6 N
        assert not process.process(k * SECOND // 100, np.full((2, 2, 3), 1e-4 * k)).contact


def test_a_new_baseline_makes_a_held_object_nothing() -> None:
    process, forces = TaxelTouch(DEFAULTS["N"]), taxel_forces(4, 4, touch_at(PRESSED))
    stamps = iter(range(0, 100 * SECOND, SECOND // 100))
    for _ in range(60):
        process.process(next(stamps), 0 * forces)
    assert [process.process(next(stamps), forces).contact for _ in range(5)][-1]
    process.restart()
    assert not [process.process(next(stamps), forces).contact for _ in range(60)][-1]


def test_a_unit_that_is_none_is_refused() -> None:
    with pytest.raises(DeviceError, match="unknown unit of touch 'V'; valid: N, counts, rgb, uT"):
        touch_for("V")


class TestMarkers:
    def test_every_marker_is_found_where_it_is(self, gel: Gel) -> None:
        found, true = find_markers(gel.picture(touch_at(FREE))), marker_positions()
        distances = np.linalg.norm(found[:, None] - true[None], axis=-1)
        assert len(found) == len(true)
        assert distances.min(axis=0).max() < 0.5

    @pytest.mark.parametrize("time", [PRESSED, DRAGGED, SLIPPING])
    def test_their_flow_is_how_the_skin_was_moved(self, gel: Gel, time: float) -> None:
        flow = MarkerFlow(gel.picture(touch_at(FREE)))
        got = flow.update(gel.picture(touch_at(time)))
        error = np.linalg.norm(got[:, 2:] - displacement(got[:, :2].astype(float), touch_at(time)), axis=1)
        assert np.isfinite(error).mean() > 0.95
        assert np.nanmedian(error) < 0.1
        assert np.nanmax(error) < 0.6
        assert np.nanmax(np.linalg.norm(got[:, 2:], axis=1)) > 4.0

    @pytest.mark.parametrize("shift", [(1.0, 0.0), (0.0, -7.5), (-12.0, 9.0)])
    def test_a_gel_that_is_shifted_flows_by_that(self, gel: Gel, shift: tuple[float, float]) -> None:
        import cv2

        rest = gel.picture(touch_at(FREE))
        moved = cv2.warpAffine(
            rest, np.float32([[1, 0, shift[0]], [0, 1, shift[1]]]), rest.shape[1::-1], borderMode=cv2.BORDER_REFLECT
        )
        flow = MarkerFlow(rest).update(moved)
        away = np.isfinite(flow).all(axis=1) & (np.abs(flow[:, :2] - [160, 120]) < [110, 80]).all(axis=1)
        assert away.sum() > 30
        np.testing.assert_allclose(np.median(flow[away, 2:], axis=0), shift, atol=0.1)

    def test_brightness_does_not_move_them(self, gel: Gel) -> None:
        rest = gel.picture(touch_at(FREE))
        ramp = np.linspace(0.6, 1.3, rest.shape[1])[None, :, None]
        flow = MarkerFlow(rest).update(np.clip(rest * ramp, 0, 255).astype(np.uint8))
        assert np.nanmedian(np.linalg.norm(flow[:, 2:], axis=1)) < 0.1

    def test_a_gel_without_markers_is_followed_by_its_texture(self) -> None:
        import cv2

        random = np.random.default_rng(3)
        grain = cv2.GaussianBlur(random.normal(0, 1, (240, 320)), (0, 0), 3.0)
        plain = np.repeat(np.clip(128 + 20 * grain / grain.std(), 0, 255).astype(np.uint8)[..., None], 3, axis=2)
        flow = MarkerFlow(plain)
        got = flow.update(np.roll(plain, 3, axis=1))
        assert len(got) > 50
        np.testing.assert_allclose(np.nanmedian(got[:, 2:], axis=0), [3.0, 0.0], atol=0.1)

    def test_a_picture_of_nothing_has_no_flow(self) -> None:
        flat = np.full((240, 320, 3), 90, np.uint8)
        assert MarkerFlow(flat).update(flat).shape == (0, 4)

    def test_a_marker_that_is_covered_is_lost_and_found_again(self, gel: Gel) -> None:
        rest = gel.picture(touch_at(FREE))
        flow = MarkerFlow(rest)
        covered = rest.copy()
        covered[60:120, 60:120] = np.random.default_rng(0).integers(0, 255, (60, 60, 3))
        assert 2 <= np.isnan(flow.update(covered)[:, 2]).sum() < 20
        assert np.isfinite(flow.update(rest)).all()


class TestFigures:
    def field(self, matrix: list[list[float]], shift: tuple[float, float] = (0.0, 0.0)) -> npt.NDArray[np.float64]:
        points = marker_positions()
        return np.concatenate([points, (points - points.mean(axis=0)) @ np.array(matrix).T + shift], axis=1)

    def test_spreading_is_divergence_and_turning_is_curl(self) -> None:
        spread = flow_figures(self.field([[0.02, 0.0], [0.0, 0.03]], (1.0, -2.0)))
        assert spread == pytest.approx(
            {"flow_x": 1.0, "flow_y": -2.0, "divergence": 0.05, "curl": 0.0, "incoherence": 0.0}, abs=1e-9
        )
        turn = flow_figures(self.field([[0.0, -0.01], [0.01, 0.0]]))
        assert turn["curl"] == pytest.approx(0.02)
        assert turn["divergence"] == pytest.approx(0.0, abs=1e-9)

    def test_motion_without_a_common_field_is_incoherent(self) -> None:
        points = marker_positions()
        random = np.random.default_rng(0).normal(0, 1, points.shape)
        assert flow_figures(np.concatenate([points, random], axis=1))["incoherence"] > 0.9

    def test_too_few_markers_tell_nothing(self) -> None:
        flow = np.full((10, 4), np.nan)
        flow[:3] = 1.0
        assert all(np.isnan(value) for value in flow_figures(flow).values())


class TestPictureSlip:
    """An object with a rough surface on a gel of 80 markers at 30 Hz; one of the two moves by 2 px a picture, or both."""

    def speeds(self, object_moves: float, skin_moves: float) -> tuple[list[bool], float, int]:
        import cv2

        slip, random = PictureSlip(speed=25.0), np.random.default_rng(4)
        bumps = cv2.GaussianBlur(random.normal(0, 1, (240, 400)), (0, 0), 1.8)
        rough = np.repeat((10 * bumps / bumps.std())[..., None], 3, axis=2).astype(np.float32)
        mask, markers = np.zeros((240, 320), bool), np.zeros((240, 320), bool)
        mask[60:180, 80:240] = True
        rest = marker_positions()
        states = []
        for k in range(15):
            flow = np.concatenate([rest, np.tile([skin_moves * k, 0.0], (len(rest), 1))], axis=1)
            difference = np.roll(rough, round(object_moves * k), axis=1)[:, 40:360]
            states.append(slip.update(k * SECOND // 30, difference, mask, markers, flow, True))
        return states, slip.score, slip.points

    def test_an_object_that_moves_over_the_skin_slips_at_that_speed(self) -> None:
        states, score, points = self.speeds(2.0, 0.0)
        assert states[-1] and points > 30
        assert score == pytest.approx(60.0, rel=0.05)

    def test_an_object_that_takes_the_skin_along_does_not_slip(self) -> None:
        states, score, _ = self.speeds(2.0, 2.0)
        assert not any(states)
        assert score < 2.0

    def test_a_skin_that_springs_back_under_an_object_at_rest_slips(self) -> None:
        states, score, _ = self.speeds(0.0, -2.0)
        assert states[-1]
        assert score == pytest.approx(60.0, rel=0.05)

    def test_without_contact_or_without_texture_there_is_no_slip(self) -> None:
        slip, flow = PictureSlip(), np.concatenate([marker_positions(), 0 * marker_positions()], axis=1)
        smooth, mask = np.full((240, 320, 3), 40, np.float32), np.ones((240, 320), bool)
        for k in range(10):
            assert not slip.update(k * SECOND // 30, smooth, mask, ~mask, flow + [0, 0, 3 * k, 0], True)
        assert (slip.points, slip.score) == (0, 0.0)
        assert not slip.update(SECOND, smooth, ~mask, ~mask, flow, False)


class TestPictures:
    def test_the_mask_is_where_the_sphere_is(self, gel: Gel) -> None:
        difference = without_markers(gel.picture(touch_at(PRESSED))) - without_markers(
            gel.picture(touch_at(FREE))
        ).astype(np.float32)
        mask = contact_mask(difference)
        rows, columns = np.nonzero(mask)
        centre = 160 + touch_at(PRESSED).centre * 320 / 3
        assert abs(columns.mean() - centre) < 2.0 and abs(rows.mean() - 120) < 2.0
        assert np.pi * 42**2 < mask.sum() < np.pi * 58**2

    def test_markers_that_move_are_not_contact(self, gel: Gel) -> None:
        rest = gel.picture(touch_at(FREE))
        moved = np.roll(rest, 5, axis=1)
        assert not contact_mask(without_markers(moved) - without_markers(rest).astype(np.float32)).any()

    def test_contact_and_slip_are_told_as_they_are(self, gel: Gel) -> None:
        process, found = PictureTouch(DEFAULTS["rgb"]), []
        for k in range(round(CYCLE * 30)):
            truth = touch_at(k / 30)
            found.append((k / 30, truth, process.process(k * SECOND // 30, gel.picture(truth))))
        for time, truth, state in found:
            if truth.press > 0.5:
                assert state.contact or time < 1.3, time
            elif truth.press == 0 and not 3.7 <= time < 3.8:
                assert not state.contact, time
            if not 2.7 <= time < 3.3:
                assert not state.slip, (time, truth, state.figures)
        assert 2.7 <= min(time for time, _, state in found if state.slip) <= 2.85
        assert found[round(30 * PRESSED)][2].figures["divergence"] > 0.1
