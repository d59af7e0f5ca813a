import numpy as np
import pytest
from gate_rig import HOME, PERIOD, GateRig, S, assert_within_limits, moved, moving, robot

from vla_ros.contract import parse_contract
from vla_ros.errors import GateError
from vla_ros.gate import Gate
from vla_ros.limits import Setpoint


@pytest.fixture
def rig() -> GateRig:
    rig = GateRig()
    rig.gate.select("policy")
    return rig


def brakes_to_rest(rig: GateRig, state: str, reason: str) -> None:
    """Check that the next ticks say so at once, decelerate within the limits and stay at rest."""
    output = rig.tick()
    assert output.state == state
    assert reason in output.reason
    speeds = np.abs(rig.velocities).max(axis=1)
    assert speeds[-1] < speeds[-2]
    rig.tick(30)
    assert not rig.velocities[-5:].any()
    assert_within_limits(rig)


def test_before_the_first_joint_state_nothing_is_sent(rig: GateRig) -> None:
    rig.feed = False
    output = rig.tick(5)
    assert output.command is None
    assert output.state == "hold"
    assert "/joint_states" in output.reason


def test_the_first_setpoint_is_the_measured_position(rig: GateRig) -> None:
    rig.gate.select(None)
    output = rig.tick()
    assert output.state == "idle"
    assert output.command is not None
    assert output.command.positions[0] == pytest.approx(HOME)
    assert not output.command.velocities.any()
    assert output.command.times[0] == rig.now + 2 * PERIOD


def test_an_arm_outside_its_joint_range_is_not_commanded(rig: GateRig) -> None:
    rig.q = moved(HOME, elbow=2.0)
    output = rig.tick(3)
    assert output.command is None
    assert "elbow" in output.reason


def test_a_chunk_is_followed_exactly_when_it_is_feasible(rig: GateRig) -> None:
    rig.tick()
    k = np.arange(1, 31)
    angle = 0.1 * (1 - np.cos(2 * np.pi * k / 30))
    start = rig.now
    values = np.tile(HOME, (30, 1))
    values[:, 0] += angle
    assert rig.offer(values) is None
    for _ in range(28):
        rig.tick()
    for i in (6, 12, 15, 18):  # targets that fall on the gate's grid: 0.7 s = 21 steps of 1/30 s ...
        t = start + round((i + 1) / 30 * S)
        match = [c for c in rig.commands if abs(int(c.times[0]) - t) < 1000]
        if match:
            assert match[0].positions[0] == pytest.approx(values[i], abs=1e-4)
    assert_within_limits(rig)


def test_the_recorded_action_is_what_was_sent(rig: GateRig) -> None:
    moving(rig)
    for command in rig.commands:
        assert command.action == pytest.approx(command.positions[0])


def test_a_quiet_source_is_held_with_the_reason(rig: GateRig) -> None:
    moving(rig)
    rig.offer(np.linspace(rig.q, moved(rig.q, shoulder_pan=1.5), 60))
    quiet = round(100 * rig.gate.contract.limits.quiet)  # [ticks]
    rig.tick(quiet - 1)
    assert rig.output is not None and rig.output.state == "active"
    rig.tick(2)
    brakes_to_rest(rig, "hold", f"'policy' is quiet for {rig.gate.contract.limits.quiet:.1f}")


def test_a_refused_chunk_does_not_feed_the_watchdog(rig: GateRig) -> None:
    moving(rig)
    ticks = round(100 * rig.gate.contract.limits.quiet) + 5
    for _ in range(ticks):
        assert rig.offer(np.full((4, 7), np.nan)) is not None
        rig.tick()
    assert rig.output is not None and rig.output.state == "hold"
    assert "quiet" in rig.output.reason
    assert rig.gate.refused["policy"] == ticks


def test_an_empty_chunk_holds_at_once(rig: GateRig) -> None:
    moving(rig)
    assert rig.gate.offer("policy", rig.empty_chunk(), rig.now) is None
    brakes_to_rest(rig, "hold", "'policy' asks to hold")


def test_stale_joint_states_hold(rig: GateRig) -> None:
    moving(rig)
    rig.feed = False
    rig.drive(moved(HOME, shoulder_pan=1.0), 10)
    brakes_to_rest(rig, "hold", "joint states on /joint_states are 0.11 s old")


def test_a_missing_wrench_holds_since_its_limit_cannot_be_kept(rig: GateRig) -> None:
    rig.gate.joints(PERIOD, HOME)
    output = rig.gate.step(PERIOD)
    assert output.state == "hold"
    assert "no wrench yet on /tool/wrench" in output.reason


def test_an_estop_latches_until_it_is_released_and_a_source_is_selected_again(rig: GateRig) -> None:
    moving(rig)
    rig.gate.estop("a person pressed it")
    brakes_to_rest(rig, "estop", "a person pressed it")
    with pytest.raises(GateError, match="release it first"):
        rig.gate.select("policy")
    rig.gate.release()
    assert rig.tick().state == "idle"
    at_rest = rig.q
    rig.tick(10)
    assert rig.q == pytest.approx(at_rest)
    rig.gate.select("policy")
    assert rig.drive(HOME, 10).state == "active"


def test_too_large_a_force_latches_the_estop(rig: GateRig) -> None:
    moving(rig)
    rig.gate.wrench(rig.now, [0.0, 70.0, 0.0, 0.0, 0.0, 0.0])
    brakes_to_rest(rig, "estop", "force of 70.0 N at the wrist, at most 60 N")


def test_switching_sources_starts_from_the_present_setpoint(rig: GateRig) -> None:
    moving(rig)
    rig.gate.select("teleop")
    assert rig.tick().reason == "waiting for a chunk from 'teleop'"
    rig.drive(HOME, 100, source="teleop")
    assert rig.q == pytest.approx(HOME)
    assert_within_limits(rig)


def test_a_source_that_is_not_selected_moves_nothing(rig: GateRig) -> None:
    rig.tick()
    assert rig.offer(moved(HOME, elbow=0.4), source="teleop") == "source 'teleop' is not selected"
    rig.tick(10)
    assert rig.q == pytest.approx(HOME)


def test_an_unknown_source_is_refused_with_the_valid_ones(rig: GateRig) -> None:
    with pytest.raises(GateError, match=r"did you mean 'policy'.*valid: policy, teleop"):
        rig.gate.select("polcy")


def test_while_blocked_it_comes_to_rest_then_sends_nothing_then_starts_from_measured(rig: GateRig) -> None:
    moving(rig)
    rig.gate.block("another node publishes")
    assert rig.tick(30).command is None
    assert not rig.velocities[-1].any()
    assert_within_limits(rig)
    rig.q = moved(HOME, wrist_1=0.7)
    rig.gate.block("")
    output = rig.tick()
    assert output.command is not None
    assert output.command.positions[0] == pytest.approx(rig.q)


def test_a_clock_that_jumps_back_forgets_chunks_and_starts_from_measured(rig: GateRig) -> None:
    moving(rig)
    rig.now, rig.q, rig.commands = 0, moved(HOME, wrist_2=-0.5), []
    output = rig.tick()
    assert output.command is not None
    assert output.command.positions[0] == pytest.approx(moved(HOME, wrist_2=-0.5))
    assert output.reason == "waiting for a chunk from 'policy'"


def test_missed_ticks_are_made_up_for_along_the_path_the_controller_took(rig: GateRig) -> None:
    moving(rig)
    sent = rig.commands[-1].trajectory()
    rig.now += 9 * PERIOD  # longer than the lookahead: the arm has braked meanwhile
    rig.gate.joints(rig.now, rig.q)
    output = rig.tick()
    assert output.command is not None
    position, velocity = sent.sample(rig.now)
    change = output.command.velocities[0] - velocity
    assert np.abs(change).max() <= 2 * 8.0 * 0.01 + 1e-9
    assert np.abs(output.command.positions[0] - position).max() <= 2 * 1.5 * 0.01


def test_one_late_tick_leaves_no_trace(rig: GateRig) -> None:
    moving(rig)
    rig.now += PERIOD
    rig.gate.joints(rig.now, rig.q)
    rig.tick()
    a, b = rig.commands[-2:]
    assert np.abs(b.velocities[0] - a.velocities[0]).max() <= 2 * 8.0 * 0.01 + 1e-9
    assert np.abs(b.velocities[0]).max() > 0.5


def test_a_force_limit_without_a_wrench_stream_is_refused() -> None:
    contract, kinematics = robot()
    text = "\n".join(line for line in contract.text.splitlines() if "observation.wrench" not in line)
    with pytest.raises(GateError, match=r"limits\.wrench"):
        Gate(parse_contract(text, "no_wrench.yaml"), kinematics)


def test_a_force_limit_with_two_wrenches_is_refused_as_one_would_not_be_looked_at() -> None:
    contract, kinematics = robot()
    line = next(line for line in contract.text.splitlines() if "observation.wrench.tool" in line)
    other = line.replace("wrench.tool", "wrench.other").replace("/wrench", "/other_wrench")
    text = contract.text.replace(line, f"{line}\n{other}")
    with pytest.raises(GateError, match="wants one wrench stream, there are 2"):
        Gate(parse_contract(text, "two.yaml"), kinematics)


def test_a_wrench_that_is_not_a_number_is_no_wrench(rig: GateRig) -> None:
    assert not rig.gate.wrench(PERIOD, [np.nan] * 6)
    assert not rig.gate.joints(PERIOD, [np.nan] * 7)
    assert rig.gate.step(PERIOD).command is None


def test_targets_outside_the_workspace_stop_at_its_edge(rig: GateRig) -> None:
    rig.tick()
    pose = rig.kinematics.pose(HOME)
    pose[2] = -0.06
    down = rig.kinematics.solve(pose, HOME)
    rig.drive(down, 300)
    heights = [rig.kinematics.forward(command.positions[0])[2, 3] for command in rig.commands]
    assert min(heights) >= -0.002
    assert heights[-1] < 0.02
    assert not rig.velocities[-5:].any() or np.abs(rig.velocities[-5:]).max() < 0.05
    assert_within_limits(rig)


def test_an_arm_that_was_moved_while_nobody_had_it_starts_from_where_it_rests(rig: GateRig) -> None:
    moving(rig)
    rig.gate.select(None)
    rig.tick(40)
    rig.follows = False
    rig.q = moved(HOME, shoulder_lift=0.4)  # as a simulator that was reset, or a hand
    rig.gate.select("policy")
    assert rig.offer(np.tile(rig.q, (30, 1))) is None
    first = rig.tick()
    assert first.state == "hold"
    assert first.reason == "the arm is not where it was left; waiting until it rests"
    rig.tick(8)
    rig.follows = True
    rig.commands.clear()
    assert rig.tick().state == "active"
    rig.tick(10)
    assert rig.positions == pytest.approx(np.tile(moved(HOME, shoulder_lift=0.4), (11, 1)))


def test_a_controller_that_lags_does_not_pull_the_setpoint_back(rig: GateRig) -> None:
    moving(rig)
    rig.gate.select(None)
    rig.follows = False
    stop = rig.gate.limits.stop_position(Setpoint(rig.positions[-1], rig.velocities[-1]))
    behind = stop - 0.2
    for k in range(40):  # comes to rest later than the setpoint
        rig.q = behind + (stop - behind) * min(1.0, k / 39)
        rig.tick()
    assert rig.positions[-1] == pytest.approx(stop)
    assert_within_limits(rig)
