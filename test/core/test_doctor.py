"""vla-ros doctor: each check's verdict on facts that are good, odd and bad."""

from __future__ import annotations

from pathlib import Path

import pytest
from typer.testing import CliRunner

from vla_ros import doctor
from vla_ros.cli import app
from vla_ros.doctor import FAIL, GIB, MIB, OK, OLD_PROFILE, PROFILE, PROFILES, WARN, Verdict
from vla_ros.doctor_command import checks
from vla_ros.paths import share_path

SHIPPED = share_path("config/fastdds.xml")


def write(root: Path, path: str, content: str | bytes) -> Path:
    file = root / path
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_bytes(content if isinstance(content, bytes) else content.encode())
    return file


def says(verdict: Verdict, level: str, *words: str) -> None:
    assert verdict.level == level, verdict.line()
    for word in words:
        assert word in verdict.line(), verdict.line()
    assert "\n" not in verdict.line()


def test_ros_comes_from_wheels_or_is_sourced_but_not_both() -> None:
    says(doctor.ros({}, "", False), FAIL, "source /opt/ros", "pip install")
    says(doctor.ros({}, "/venv/rclpy", True), OK, "wheels")
    says(doctor.ros({"ROS_DISTRO": "jazzy"}, "/opt/ros/jazzy/rclpy", False), OK, "ROS jazzy, sourced")
    says(doctor.ros({"ROS_DISTRO": "humble"}, "/venv/rclpy", True), WARN, "ROS humble is sourced, but")


def test_the_middleware_is_fast_dds_and_installed() -> None:
    says(doctor.middleware({}, ["rmw_fastrtps_cpp"]), OK, "rmw_fastrtps_cpp")
    says(doctor.middleware({}, []), FAIL, "no RMW")
    other = {"RMW_IMPLEMENTATION": "rmw_cyclonedds_cpp"}
    says(doctor.middleware(other, ["rmw_fastrtps_cpp"]), FAIL, "is rmw_cyclonedds_cpp, installed: rmw_fastrtps_cpp")
    says(doctor.middleware(other, ["rmw_cyclonedds_cpp", "rmw_fastrtps_cpp"]), WARN, "for Fast DDS")


def both(profile: Path | str) -> dict[str, str]:
    """Return the environment in which a profile is in force, whichever release of Fast DDS reads it."""
    return dict.fromkeys(PROFILES, str(profile))


def test_the_shipped_profile_is_good() -> None:
    says(doctor.profile(both(SHIPPED), SHIPPED), OK, "64 MiB")
    for one, other in (PROFILES, PROFILES[::-1]):
        says(doctor.profile({one: str(SHIPPED)}, SHIPPED), WARN, f"{other} is not set in this shell", f"{other}=")


def test_a_missing_unreadable_or_small_profile_is_answered_by_what_to_export(tmp_path: Path) -> None:
    export = f"export {OLD_PROFILE}={SHIPPED} {PROFILE}={SHIPPED}"
    says(doctor.profile({}, SHIPPED), WARN, "not set in this shell", export)
    says(doctor.profile(both("/nowhere.xml"), SHIPPED), FAIL, "No such file", export)
    odd = write(tmp_path, "odd.xml", "<profiles>")
    says(doctor.profile(both(odd), SHIPPED), FAIL, "is not a profile", export)
    plain = write(tmp_path, "plain.xml", "<profiles><participant/></profiles>")
    says(doctor.profile(both(plain), SHIPPED), WARN, "no transport by shared memory", export)
    text = SHIPPED.read_text(encoding="utf-8")
    small = write(tmp_path, "small.xml", text.replace("67108864", "1048576"))
    says(doctor.profile(both(small), SHIPPED), WARN, "has 1.0 MiB of shared memory", export)
    short = write(tmp_path, "short.xml", text.replace("<port_queue_capacity>8192</port_queue_capacity>", ""))
    says(doctor.profile(both(short), SHIPPED), WARN, "port_queue_capacity of 512", export)


def test_a_running_node_without_the_profile_is_named(tmp_path: Path) -> None:
    says(doctor.running_nodes(tmp_path), OK, "none")
    node = b"python\0-m\0vla_ros.ros.nodes.camera_node\0"
    write(tmp_path, "11/cmdline", node)
    write(tmp_path, "11/environ", f"HOME=/root\0{PROFILE}=/a.xml\0{OLD_PROFILE}=/a.xml\0")
    write(tmp_path, "7/cmdline", "bash\0")
    says(doctor.running_nodes(tmp_path), OK, "1, all with the profile")
    write(tmp_path, "12/cmdline", "/opt/driver\0--ros-args\0")
    write(tmp_path, "12/environ", "HOME=/root\0")
    says(doctor.running_nodes(tmp_path), WARN, "1 of 2 have no Fast DDS profile: process 12")


@pytest.mark.parametrize(("size", "level"), [(None, FAIL), (32 * MIB, FAIL), (64 * MIB, WARN), (2 * GIB, OK)])
def test_shared_memory_is_large_enough(size: int | None, level: str) -> None:
    says(doctor.shared_memory(size), level)


def test_socket_buffers_are_read_from_the_kernel(tmp_path: Path) -> None:
    says(doctor.socket_buffers(tmp_path), WARN, "cannot be read")
    write(tmp_path, "sys/net/core/rmem_max", "212992\n")
    says(doctor.socket_buffers(tmp_path), WARN, "212992", "sudo sysctl -w net.core.rmem_max=")
    write(tmp_path, "sys/net/core/rmem_max", "8388608\n")
    says(doctor.socket_buffers(tmp_path), OK, "8388608")


def test_processors_that_save_power_are_told_of(tmp_path: Path) -> None:
    says(doctor.processors(8, tmp_path), OK, "8, governor unknown")
    write(tmp_path, "devices/system/cpu/cpu0/cpufreq/scaling_governor", "performance\n")
    says(doctor.processors(8, tmp_path), OK, "governor performance")
    write(tmp_path, "devices/system/cpu/cpu1/cpufreq/scaling_governor", "powersave\n")
    says(doctor.processors(8, tmp_path), WARN, "powersave", "cpupower")
    says(doctor.processors(1, tmp_path / "none"), WARN, "1, governor unknown")


def test_a_driver_without_a_gpu_for_torch_is_odd() -> None:
    says(doctor.gpu(["H200"], True), OK, "H200")
    says(doctor.gpu([], False), OK, "none")
    says(doctor.gpu([], True), WARN, "torch.cuda finds no GPU")


def test_cameras_are_listed(tmp_path: Path) -> None:
    says(doctor.cameras(tmp_path, None), WARN, "pyrealsense2 not installed", "vla-ros emulate mjpeg")
    says(doctor.cameras(tmp_path, []), WARN, "no RealSense")
    write(tmp_path, "video0", "")
    says(doctor.cameras(tmp_path, ["123"]), OK, "/dev/video0, RealSense 123")


def test_a_device_that_may_not_be_opened_is_answered_by_the_group(tmp_path: Path) -> None:
    says(doctor.permissions(tmp_path, [], "ada", ["video"]), OK, "no video or serial device")
    write(tmp_path, "video0", "")
    write(tmp_path, "ttyUSB0", "")
    says(doctor.permissions(tmp_path, [], "ada", ["video", "dialout"]), OK, "all 2", "dialout, video")
    verdict = doctor.permissions(tmp_path, ["ttyUSB0"], "ada", ["video"])
    says(verdict, FAIL, "ada may not open /dev/ttyUSB0", "sudo usermod -aG dialout ada")


def test_the_clock_is_synchronised_and_by_whom(tmp_path: Path) -> None:
    says(doctor.clock(False, tmp_path), WARN, "not synchronised", "chrony")
    says(doctor.clock(None, tmp_path), WARN, "does not tell")
    write(tmp_path, "chrony/chronyd.pid", "1\n")
    says(doctor.clock(True, tmp_path), OK, "synchronised (chrony)")


@pytest.mark.parametrize(("free", "level"), [(GIB // 2, FAIL), (5 * GIB, WARN), (100 * GIB, OK)])
def test_there_is_room_to_record(free: int, level: str) -> None:
    says(doctor.disk(free, Path("/data")), level, "/data")


def test_the_command_prints_a_line_a_check_and_fails_where_one_fails(monkeypatch: pytest.MonkeyPatch) -> None:
    for variable in PROFILES:
        monkeypatch.setenv(variable, "/nowhere/fastdds.xml")
    result = CliRunner().invoke(app, ["doctor"])
    lines = result.output.splitlines()
    assert len(lines) == 12 and all(line[:4].strip() in (OK, WARN, FAIL) for line in lines)
    assert result.exit_code == 1
    assert [line for line in lines if line.startswith("fail  Fast DDS profile: ")]


def test_with_the_profile_set_this_machine_is_judged_without_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    for variable in PROFILES:
        monkeypatch.setenv(variable, str(SHIPPED))
    assert {verdict.name: verdict.level for verdict in checks()}["Fast DDS profile"] == OK
