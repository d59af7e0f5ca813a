"""A managed node starts, refuses, stops and obeys simulated time as a process, with the right exit code."""

from __future__ import annotations

import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from ros_support import RosTest, wait_until

pytest.importorskip("rclpy")
from lifecycle_msgs.msg import Transition
from lifecycle_msgs.srv import ChangeState, GetState
from rosgraph_msgs.msg import Clock
from std_msgs.msg import Int64

from vla_ros.ros import lifeline
from vla_ros.ros.convert import to_time
from vla_ros.ros.environment import READY, child_environment

NODE = """
import ctypes, sys, threading
from std_msgs.msg import Int64
from vla_ros.errors import DeviceError
from vla_ros.ros import lifecycle
from vla_ros.ros.lifecycle import ManagedNode, run_node
from vla_ros.ros.params import declare

class Probe(ManagedNode):
    def __init__(self):
        super().__init__("probe")

    def configure(self):
        period = declare(self, "period", 0.02, "s between ticks", (0.001, 1.0))
        mode = declare(self, "mode", "good", "how to behave")
        if mode == "refuse":
            raise DeviceError("the device on '/dev/null' does not answer; valid: any other")
        if mode == "endless":
            lifecycle.LAST_RESORT = 0.5
            libc = ctypes.CDLL(None)  # as a library's destructor that waits without end
            getattr(libc, "__cxa_atexit")(ctypes.cast(libc.pause, ctypes.c_void_p), None, None)
        if mode == "defect":
            raise ZeroDivisionError("oops")
        self.stamps = self.create_publisher(Int64, "stamps", 10)
        self.create_timer(period, self.tick)

    def activate(self):
        print("activate", flush=True)

    def tick(self):
        if self.get_parameter("mode").value == "late":
            raise DeviceError("lost")
        self.stamps.publish(Int64(data=self.stamp()))

    def deactivate(self):
        print("deactivate", flush=True)
        if self.get_parameter("mode").value == "hang":
            threading.Event().wait()

    def cleanup(self):
        print("cleanup", flush=True)

sys.exit(run_node(Probe))
"""


class Probe:
    """The node above as a process."""

    def __init__(self, folder: Path) -> None:
        self._file, self._log = folder / "probe.py", folder / "log"
        self._file.write_text(NODE)
        self.process: subprocess.Popen[bytes] | None = None

    def start(self, *parameters: str, environment: dict[str, str] | None = None) -> None:
        words = [word for parameter in parameters for word in ("-p", parameter)]
        root = str(Path(__file__).resolve().parents[2])
        env = child_environment() | {"PYTHONPATH": root} | (environment or {})
        with self._log.open("wb") as log:
            command = [sys.executable, str(self._file), "--ros-args", *words]
            self.process = lifeline.start(command, env, stdout=log, stderr=log)

    def said(self) -> str:
        return self._log.read_text()

    def wait_active(self) -> None:
        wait_until(lambda: f"{READY} probe" in self.said(), what="the node's activation")

    def stop(self, number: signal.Signals = signal.SIGINT) -> int:
        assert self.process is not None
        self.process.send_signal(number)
        return self.process.wait(60)

    def end(self) -> int:
        assert self.process is not None
        return self.process.wait(60)


@pytest.fixture
def probe(tmp_path: Path, ros_domain: int) -> Iterator[Probe]:
    made = Probe(tmp_path)
    yield made
    if made.process is not None and made.process.poll() is None:
        made.process.kill()
        made.process.wait()


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_deactivates_cleans_up_and_exits_with_0(probe: Probe, number: signal.Signals):
    probe.start()
    probe.wait_active()
    assert probe.stop(number) == 0
    assert [line for line in probe.said().splitlines() if ":" not in line] == [
        "activate",
        "deactivate",
        "cleanup",
    ]


def test_several_signals_at_once_still_exit_with_0(probe: Probe):
    probe.start()
    probe.wait_active()
    assert probe.process is not None
    for _ in range(3):
        probe.process.send_signal(signal.SIGINT)
    assert probe.stop() == 0


def test_a_process_that_hangs_after_its_end_is_ended(probe: Probe):
    probe.start("mode:=endless")
    probe.wait_active()
    assert probe.stop(signal.SIGTERM) == -signal.SIGALRM
    assert "cleanup" in probe.said()


def test_a_refused_configuration_is_one_line_and_exit_code_1(probe: Probe):
    probe.start("mode:=refuse")
    assert probe.end() == 1
    lines = [line for line in probe.said().splitlines() if line.startswith("vla_ros:")]
    assert lines == ["vla_ros: the device on '/dev/null' does not answer; valid: any other"]
    assert "Traceback" not in probe.said()


def test_a_defect_shows_its_traceback_and_exits_with_2(probe: Probe):
    probe.start("mode:=defect")
    assert probe.end() == 2
    assert "ZeroDivisionError: oops" in probe.said()


def test_an_error_while_running_ends_the_node_with_its_line(probe: Probe):
    probe.start("mode:=late")
    assert probe.end() == 1
    assert "vla_ros: lost" in probe.said()
    assert "cleanup" in probe.said()


@pytest.mark.parametrize(
    ("parameter", "reason"),
    [
        ("period:=7.0", "parameter 'period' of probe is 7.0, want float in [0.001, 1.0]"),
        ("period:=often", "parameter 'period' of probe is 'often', want float in [0.001, 1.0]"),
    ],
)
def test_a_bad_parameter_is_refused_by_name(probe: Probe, parameter: str, reason: str):
    probe.start(parameter)
    assert probe.end() == 1
    assert f"vla_ros: {reason}" in probe.said()


def test_an_integer_is_good_for_a_float_parameter(probe: Probe):
    probe.start("period:=1")
    probe.wait_active()
    assert probe.stop() == 0


def test_without_autostart_it_waits_for_a_manager(probe: Probe, ros: RosTest):
    probe.start("autostart:=false")

    def state() -> str:
        return str(ros.call(GetState, "/probe/get_state").current_state.label)

    def change(transition: int) -> bool:
        request = ChangeState.Request()
        request.transition.id = transition
        return bool(ros.call(ChangeState, "/probe/change_state", request).success)

    assert state() == "unconfigured"
    assert change(Transition.TRANSITION_CONFIGURE)
    assert change(Transition.TRANSITION_ACTIVATE)
    assert state() == "active"
    assert change(Transition.TRANSITION_DEACTIVATE)
    assert state() == "inactive"
    assert probe.stop() == 0


def test_timers_and_stamps_follow_simulated_time_through_a_jump_back(probe: Probe, ros: RosTest):
    probe.start("use_sim_time:=true")
    stamps = ros.collect(Int64, "stamps")
    clock = ros.node.create_publisher(Clock, "/clock", 10)
    probe.wait_active()
    for _ in range(2):
        stamps.clear()
        ticks = iter(range(1, 100_000))

        def advance(ticks: Iterator[int] = ticks) -> bool:
            clock.publish(Clock(clock=to_time(next(ticks) * 10_000_000)))
            return len(stamps) > 20 and stamps[-1].data > 400_000_000

        ros.wait_for(advance, what="ticks on simulated time")
        times = [message.data for message in stamps if message.data < 10_000_000_000]
        assert times[2:] == sorted(times[2:])
    assert probe.stop() == 0
