"""What a tool weighs, found from poses and taken off again; tare, filter and flags; the calibration's file."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import numpy.typing as npt
import pinocchio as pin
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from scipy.spatial.transform import Rotation

from vla_ros.errors import CalibrationError
from vla_ros.kinematics import Kinematics
from vla_ros.robot import load_urdf
from vla_ros.wrench import (
    STANDARD_GRAVITY,
    LowPass,
    RecordedPose,
    WrenchCalibration,
    WrenchProcess,
    calibrate,
    identify,
    load_calibration,
    read_poses,
    write_poses,
)

Array = npt.NDArray[np.float64]
MS = 1_000_000  # [ns]
JOINTS = ("shoulder_pan", "shoulder_lift", "elbow", "wrist_1", "wrist_2", "wrist_3")
CALIBRATION = WrenchCalibration("tool0", 0.8, (0.01, -0.02, 0.06), (3.0, -1.0, 2.0), (0.1, 0.2, -0.3))
metres = st.floats(-0.2, 0.2)
offsets = st.tuples(*[st.floats(-20.0, 20.0)] * 3)


def turned(count: int, seed: int) -> Array:
    return Rotation.random(count, random_state=seed).as_matrix()


def shown(calibration: WrenchCalibration, rotations: Array, noise: float = 0.0) -> Array:
    random = np.random.default_rng(0)
    loads = np.array([calibration.without_contact(rotation) for rotation in rotations])
    return loads + noise * random.standard_normal(loads.shape)


@settings(max_examples=200, deadline=None)
@given(
    mass=st.floats(0.05, 10.0),
    centre=st.tuples(metres, metres, metres),
    force=offsets,
    torque=offsets,
    count=st.integers(4, 12),
    seed=st.integers(0, 10_000),
)
def test_mass_centre_and_offsets_are_found_from_a_few_poses(
    mass: float, centre: tuple, force: tuple, torque: tuple, count: int, seed: int
) -> None:
    true = WrenchCalibration("tool0", mass, centre, force, torque)
    rotations = turned(count, seed)
    try:
        found = identify(rotations, shown(true, rotations))
    except CalibrationError:
        assume(False)  # poses that happen to lie about one axis
    assert found.mass == pytest.approx(mass, rel=1e-6)
    assert found.centre == pytest.approx(centre, abs=1e-6)
    assert found.force_offset == pytest.approx(force, abs=1e-6)
    assert found.torque_offset == pytest.approx(torque, abs=1e-6)
    assert max(found.residual_force, found.residual_torque) < 1e-8
    assert found.poses == count


def test_noise_leaves_a_residual_of_its_size_and_errors_that_cover_the_truth() -> None:
    rotations = turned(12, 3)
    found = identify(rotations, shown(CALIBRATION, rotations, noise=0.05))
    assert found.residual_force == pytest.approx(0.05, rel=0.5)
    assert abs(found.mass - CALIBRATION.mass) < 4 * found.mass_error
    assert np.abs(np.subtract(found.centre, CALIBRATION.centre)).max() < 4 * found.centre_error
    assert 0 < found.mass_error < 0.01


def test_what_pinocchio_says_the_wrist_carries_is_what_is_found() -> None:
    """The load on the last joint, by recursive Newton-Euler at rest; mass and centre from the composite inertia."""
    urdf = load_urdf("urdf/tabletop_arm.urdf.xacro")
    model = pin.buildModelFromXML(urdf)
    model.gravity.linear = np.array([0.0, 0.0, -STANDARD_GRAVITY])
    data, joint = model.createData(), model.getJointId("wrist_3")
    names = list(model.names)[1:]
    random = np.random.default_rng(1)
    poses = []
    for _ in range(6):
        q = pin.neutral(model)
        for name in JOINTS:
            q[model.joints[model.getJointId(name)].idx_q] = random.uniform(-1.2, 1.2)
        pin.rnea(model, data, q, np.zeros(model.nv), np.zeros(model.nv))
        load = -data.f[joint].vector  # what the wrist bears, in the joint's frame
        positions = {name: float(q[model.joints[model.getJointId(name)].idx_q]) for name in names}
        poses.append(RecordedPose(positions, tuple(load)))
    found = calibrate(poses, Kinematics(urdf, JOINTS, "wrist_3_link"))
    pin.crba(model, data, q)
    carried = data.Ycrb[joint]
    assert found.mass == pytest.approx(carried.mass, rel=1e-6)
    assert found.centre == pytest.approx(carried.lever, abs=1e-6)
    assert found.frame == "wrist_3_link"
    assert found.force_offset == pytest.approx((0, 0, 0), abs=1e-6)


def about(axis: str, *degrees: float) -> Array:
    return np.array([Rotation.from_euler(axis, angle, degrees=True).as_matrix() for angle in degrees])


@pytest.mark.parametrize(
    ("rotations", "message"),
    [
        (about("x", 0, 40), "2 poses; at least 3 are needed"),
        (about("x", 0, 1, 2, 3), "tilt the sensor by .* only, so weight cannot be told from offset"),
        (about("x", -10, 0, 10, 20), "along one line only .*; add poses tilted about another axis"),
        (about("y", 0, 60, 0, 60), "along one line only .*30 deg rms, 0.0 deg across it"),
        (about("z", 0, 50, 90, 130), "cannot be told from offset"),
    ],
)
def test_poses_that_do_not_determine_the_load_are_refused_with_the_reason(rotations: Array, message: str) -> None:
    with pytest.raises(CalibrationError, match=message):
        identify(rotations, shown(CALIBRATION, rotations))


def test_forces_against_gravity_are_refused() -> None:
    rotations = turned(6, 4)
    with pytest.raises(CalibrationError, match=r"mass comes out as -0\.800 kg.*is 'wrist' its frame"):
        identify(rotations, -shown(CALIBRATION, rotations), frame="wrist")


def test_a_bare_flange_has_offsets_and_no_centre() -> None:
    bare = WrenchCalibration("tool0", 0.0, (0.0, 0.0, 0.0), (3.0, -1.0, 2.0), (0.1, 0.2, -0.3))
    rotations = turned(6, 5)
    found = identify(rotations, shown(bare, rotations, noise=1e-3))
    assert (found.mass, found.centre) == (pytest.approx(0.0, abs=1e-3), (0.0, 0.0, 0.0))
    assert found.torque_offset == pytest.approx((0.1, 0.2, -0.3), abs=1e-2)


def test_only_contact_is_left_at_any_orientation() -> None:
    process, contact = WrenchProcess(CALIBRATION), np.array([1.0, 2.0, -5.0, 0.1, 0.0, 0.2])
    for index, rotation in enumerate(turned(20, 6)):
        raw = CALIBRATION.without_contact(rotation) + contact
        assert process(10 * MS * index, raw, rotation).wrench == pytest.approx(contact)


def test_without_orientation_there_is_no_wrench() -> None:
    processed = WrenchProcess(CALIBRATION)(0, np.zeros(6), None)
    assert processed.wrench is None
    assert processed.flags == ("no orientation: the tool's weight cannot be taken off",)


def test_a_tare_is_the_mean_of_the_last_samples() -> None:
    process, random = WrenchProcess(), np.random.default_rng(2)
    rest = np.array([5.0, -3.0, 12.0, 0.2, 0.1, -0.4])
    with pytest.raises(CalibrationError, match="0 samples so far, 100 are needed"):
        process.tare(100)
    samples = rest + 0.1 * random.standard_normal((300, 6))
    for index, sample in enumerate(samples):
        process(2 * MS * index, sample)
    mean, deviation = process.tare(100)
    assert mean == pytest.approx(samples[-100:].mean(axis=0))
    assert deviation == pytest.approx(np.full(6, 0.1), rel=0.4)
    assert process(2 * MS * 300, mean).wrench == pytest.approx(np.zeros(6), abs=1e-12)
    process.tare(301)
    assert process.tared == pytest.approx(np.concatenate([samples, mean[None]]).mean(axis=0)), "of what was measured"


@pytest.mark.parametrize(("cutoff", "rate"), [(20.0, 100.0), (10.0, 500.0), (50.0, 1000.0)])
def test_the_filter_delays_slow_changes_by_what_it_states_and_halves_power_at_its_cutoff(
    cutoff: float, rate: float
) -> None:
    low_pass = LowPass(cutoff, rate)
    assert low_pass.delay == pytest.approx(0.2251 / cutoff, rel=0.2)
    ramp = np.arange(4000)[:, None] / rate * np.ones(6)
    late = ramp[-1] - [low_pass(sample) for sample in ramp][-1]
    assert late == pytest.approx(np.full(6, low_pass.delay), rel=1e-6)  # the ramp rises by 1 a second
    low_pass.reset()
    wave = np.sin(2 * np.pi * cutoff * np.arange(8000) / rate)
    answer = np.array([low_pass(np.full(6, value))[0] for value in wave])[4000:]
    assert np.sqrt(2 * np.mean(answer**2)) == pytest.approx(np.sqrt(0.5), rel=0.01)


def test_the_first_sample_is_not_taken_for_a_step() -> None:
    low_pass, sample = LowPass(5.0, 100.0), np.array([7.0, 0.0, -3.0, 1.0, 1.0, 1.0])
    assert [low_pass(sample).tolist() for _ in range(3)] == [pytest.approx(sample)] * 3


def test_the_rate_of_the_samples_is_told_from_their_stamps() -> None:
    process, sample = WrenchProcess(cutoff=10.0), np.ones(6)
    first = process(0, sample)
    assert first.flags == ("unfiltered: the rate is not yet known",)
    assert first.wrench == pytest.approx(sample)
    flags = [process(5 * MS * index, sample).flags for index in range(1, 80)]
    assert flags[-1] == ()
    assert process.delay == pytest.approx(LowPass(10.0, 200.0).delay)


def test_a_cutoff_that_the_rate_does_not_allow_is_told() -> None:
    process = WrenchProcess(cutoff=60.0)
    for index in range(60):
        processed = process(10 * MS * index, np.ones(6))
    assert processed.flags == ("unfiltered: cutoff 60 Hz: want more than 0 and less than half the rate, 100 Hz",)
    with pytest.raises(CalibrationError, match="less than half the rate, 100 Hz"):
        WrenchProcess(cutoff=60.0, rate=100.0)


def test_saturation_and_gaps_are_flagged_and_a_gap_starts_the_filter_anew() -> None:
    process = WrenchProcess(cutoff=10.0, rate=100.0, limits=(50.0, 2.0))
    for index in range(60):
        assert process(10 * MS * index, np.zeros(6)).flags == ()
    assert process(600 * MS, np.array([0, -50.0, 0, 0, 0, 2.5])).flags == ("saturated: fy", "saturated: tz")
    after = process(900 * MS, np.full(6, 1.0))
    assert after.flags == ("timeout: 0.3 s without a sample",)
    assert after.wrench == pytest.approx(np.ones(6)), "not smeared over the gap"
    with pytest.raises(CalibrationError, match="1 samples so far"):
        process.tare(10)


def test_a_calibration_comes_back_from_its_file(tmp_path: Path) -> None:
    rotations = turned(8, 7)
    found = identify(rotations, shown(CALIBRATION, rotations, noise=0.02))
    file = tmp_path / "new" / "wrench.yaml"
    found.save(file)
    again = load_calibration(file)
    assert again.without_contact(rotations[0]) == pytest.approx(found.without_contact(rotations[0]), abs=1e-6)
    assert (again.frame, again.poses) == ("tool0", 8)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("frame: tool0\nmass: 1.0\n", "centre is missing"),
        ("frame: tool0\nmass: heavy\ncentre: [0, 0, 0]\n", "mass is 'heavy', want a number"),
        ("frame: tool0\nmass: -1\ncentre: [0, 0, 0]\n", "mass is -1, want a number of 0 or more"),
        ("frame: tool0\nmass: 1\ncentre: [0, 0]\n", r"centre is \[0, 0\], want three numbers"),
        ("frame: tool0\nmass: 1\ncenter: [0, 0, 0]\n", "unknown key 'center' .did you mean 'centre'"),
        ("frame: 7\nmass: 1\ncentre: [0, 0, 0]\n", "frame is 7, want the name of a link"),
        ("- 1\n", "is a list, want keys"),
        ("a: [", "is not YAML"),
    ],
)
def test_a_wrong_file_is_answered_with_what_is_wrong(tmp_path: Path, text: str, message: str) -> None:
    file = tmp_path / "wrench.yaml"
    file.write_text(text, encoding="utf-8")
    with pytest.raises(CalibrationError, match=message):
        load_calibration(file)
    with pytest.raises(CalibrationError, match="No such file.*vla-ros calibrate wrench"):
        load_calibration(tmp_path / "none.yaml")


def test_recorded_poses_come_back_from_csv_and_yaml(tmp_path: Path) -> None:
    poses = [
        RecordedPose({"a": 0.1, "b": -1.5}, (1.0, 2.0, 3.0, 4.0, 5.0, 6.0)),
        RecordedPose({"a": 0, "b": 2}, (0,) * 6),
    ]
    write_poses(tmp_path / "poses.csv", poses)
    assert read_poses(tmp_path / "poses.csv") == poses
    (tmp_path / "poses.yaml").write_text("- {joints: {a: 0.1, b: -1.5}, wrench: [1, 2, 3, 4, 5, 6]}\n")
    assert read_poses(tmp_path / "poses.yaml") == poses[:1]


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("p.csv", "a,fx,fy,fz,tx,ty\n1,1,1,1,1,1\n", "no column 'tz'"),
        ("p.csv", "a,fx,fy,fz,tx,ty,tz\n1,1,1,x,1,1,1\n", "pose 1: fz is 'x', want a number"),
        ("p.csv", "", "no column 'fx'"),
        ("p.yaml", "- {joints: {a: 1}, wrench: [1, 2]}\n", "pose 1: want joints .* and wrench"),
        ("p.yaml", "joints: 1\n", "want a list of poses"),
    ],
)
def test_a_wrong_file_of_poses_is_answered_with_the_row(tmp_path: Path, name: str, text: str, message: str) -> None:
    (tmp_path / name).write_text(text, encoding="utf-8")
    with pytest.raises(CalibrationError, match=message):
        read_poses(tmp_path / name)


def test_a_pose_without_one_of_the_joints_is_named() -> None:
    kinematics = Kinematics(load_urdf("urdf/tabletop_arm.urdf.xacro"), JOINTS)
    with pytest.raises(CalibrationError, match="pose 1 lacks the joint 'shoulder_lift'; it has shoulder_pan"):
        calibrate([RecordedPose({"shoulder_pan": 0.0}, (0.0,) * 6)], kinematics)
