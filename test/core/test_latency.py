"""Latency by cross-correlation: known delays are found, and what cannot be told is refused; the contract keeps its comments."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from vla_ros.contract import load_contract, parse_contract
from vla_ros.contract_edit import with_latency, write_latency
from vla_ros.errors import CalibrationError, ContractError
from vla_ros.latency import Array, estimate, motion, strongest_component

SECONDS = 8.0
Signal = tuple[Array, Array]


def sampled(rate: float, delay: float = 0.0, noise: float = 0.0, phase: float = 0.0) -> Signal:
    """Return the motion as a stream of this rate [Hz] shows it, later by `delay` [s]."""
    t = np.arange(-0.5 + phase, SECONDS + 1.0, 1.0 / rate)
    values = 0.05 * motion(t - delay, SECONDS)
    return t, values + noise * np.random.default_rng(0).normal(size=len(t))


@pytest.mark.parametrize(("rate", "bound"), [(30.0, 0.004), (300.0, 0.001)])
@pytest.mark.parametrize("delay", [-0.03, 0.0, 0.0125, 0.087, 0.31])
def test_a_known_delay_is_found_within_its_uncertainty(delay: float, rate: float, bound: float) -> None:
    found = estimate(sampled(300.0), sampled(rate, delay, noise=0.004, phase=0.0071), "stream")
    assert abs(found.seconds - delay) < bound
    assert abs(found.seconds - delay) < 4.0 * found.uncertainty + 5e-4
    assert found.correlation > 0.98


def test_scale_offset_drift_and_sign_do_not_matter() -> None:
    t, values = sampled(30.0, 0.05)
    assert estimate(sampled(300.0), (t, -700.0 * values + 3.0 + 2.0 * t), "stream").seconds == pytest.approx(
        0.05, abs=2e-3
    )


def test_motion_is_found_in_pictures_and_in_wrenches() -> None:
    t, values = sampled(30.0, 0.06)
    columns = np.arange(24)
    pictures = [100.0 + 80.0 * np.tanh((columns - 12.0 - 40.0 * x) / 4.0) for x in values]
    noisy = np.random.default_rng(1).normal(scale=2.0, size=(len(t), 18, 24)) + np.array(pictures)[:, None]
    assert estimate(sampled(300.0), (t, strongest_component(list(noisy))), "camera").seconds == pytest.approx(
        0.06, abs=3e-3
    )
    wrenches = [np.array([5.0, 1.0 - 10.0 * x, 3.0 * x, 0.0, 0.1, 0.0]) for x in values]
    assert estimate(sampled(300.0), (t, strongest_component(wrenches)), "wrench").seconds == pytest.approx(
        0.06, abs=2e-3
    )


def test_what_cannot_be_told_is_refused_in_one_line() -> None:
    reference = sampled(300.0)
    t, values = sampled(30.0)
    noise = np.random.default_rng(2).normal(size=len(t))
    with pytest.raises(CalibrationError, match="front: no motion seen"):
        estimate(reference, (t, np.ones_like(t)), "front")
    with pytest.raises(CalibrationError, match="front: no motion seen, the reference stays the same"):
        estimate((reference[0], np.zeros_like(reference[0])), (t, values), "front")
    with pytest.raises(CalibrationError, match=r"front: correlation 0\.\d\d with the motion, want at least 0.9"):
        estimate(reference, (t, noise), "front")
    with pytest.raises(CalibrationError, match="front: 12 samples"):
        estimate(reference, (t[100:112], values[100:112]), "front")
    with pytest.raises(CalibrationError, match="front: the latency is outside of -100 to 600 ms"):
        estimate(reference, sampled(30.0, 0.63), "front")
    steady = np.sin(2.0 * np.pi * 2.0 * reference[0])
    with pytest.raises(CalibrationError, match="the motion repeats itself"):
        estimate((reference[0], steady), (t, np.sin(2.0 * np.pi * 2.0 * (t - 0.1))), "front")


def test_the_motion_begins_and_ends_at_rest() -> None:
    t = np.linspace(-1.0, SECONDS + 1.0, 10_001)
    values = motion(t, SECONDS)
    assert (values[(t <= 0.0) | (t >= SECONDS)] == 0.0).all() and 0.9 < values.max() <= 1.0
    assert np.abs(np.gradient(values, t)).max() < 2.0 * np.pi * 1.7


@pytest.mark.parametrize("key", ["observation.images.front", "observation.state", "observation.wrench.tool"])
def test_a_latency_is_written_into_the_contract_and_its_comments_stay(key: str, tmp_path: Path) -> None:
    path = tmp_path / "arm.yaml"
    text = load_contract("tabletop_arm").text
    path.write_text(text)
    write_latency(path, key, 0.04321)
    assert load_contract(path).observation[key].latency == 0.0432
    new = path.read_text()
    assert [line.partition("#")[2] for line in new.splitlines() if "#" in line] == [
        line.partition("#")[2] for line in text.splitlines() if "#" in line
    ]
    write_latency(path, key, 0.0)
    assert load_contract(path).observation[key].latency == 0.0
    assert path.read_text() == new.replace("latency: 0.0432", "latency: 0")


def test_an_unknown_stream_is_named_and_the_file_stays(tmp_path: Path) -> None:
    path = tmp_path / "arm.yaml"
    path.write_text(load_contract("tabletop_arm").text)
    with pytest.raises(ContractError, match="did you mean 'observation.images.front'"):
        write_latency(path, "observation.images.frnt", 0.1)
    assert path.read_text() == load_contract("tabletop_arm").text


def test_a_mapping_that_ends_in_a_comment_or_a_comma_takes_the_latency_too() -> None:
    text = load_contract("tabletop_arm").text.replace(
        "{topic: /front_camera/color/image_raw, kind: image, shape: [240, 320, 3], rate: 30, max_age: 0.07}",
        "{topic: /front_camera/color/image_raw, kind: image, shape: [240, 320, 3],  # seen from the front\n     }",
    )
    new = with_latency(text, "observation.images.front", 0.03)
    assert parse_contract(new, "arm").observation["observation.images.front"].latency == 0.03
    assert "# seen from the front" in new
