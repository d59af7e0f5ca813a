"""What `vla-ros doctor` checks of a machine: a function a check, from facts to a verdict."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from xml.etree import ElementTree

OK, WARN, FAIL = "ok", "warn", "fail"
MIB, GIB = 1 << 20, 1 << 30
PROFILE = "FASTDDS_DEFAULT_PROFILES_FILE"
OLD_PROFILE = "FASTRTPS_DEFAULT_PROFILES_FILE"  # what Fast DDS 2 reads, of Humble and Jazzy
PROFILES = (OLD_PROFILE, PROFILE)  # each is read by some release only, and the other one is harmless
SEGMENT = 16 * MIB  # of shared memory that a process's images need
QUEUE = 4096  # pieces of 64 KiB that a stalled receiver is sent: three cameras of 640x480 at 30 Hz for 3 s
SHARED = (64 * MIB, 512 * MIB)  # of /dev/shm: below the first nothing goes, from the second all does
RECEIVE_BUFFER = 4 * MIB
DISK = (1 * GIB, 20 * GIB)  # free: below the first a recording ends soon, from the second it goes on for long


@dataclass(frozen=True)
class Verdict:
    """One line of the report. level: ok, warn or fail. advice: what to do."""

    name: str
    level: str
    text: str
    advice: str = ""

    def line(self) -> str:
        """Return the verdict as a line."""
        return f"{self.level:4}  {self.name}: {self.text}" + (f"; {self.advice}" if self.advice else "")


def ros(environ: Mapping[str, str], rclpy: str, wheels: bool) -> Verdict:
    """Which ROS is in use. rclpy: its folder, "" if it cannot be imported. wheels: it came by pip."""
    distribution = environ.get("ROS_DISTRO", "")
    if not rclpy:
        advice = "source /opt/ros/jazzy/setup.bash, or pip install 'vla_ros[ros]'"
        return Verdict("ROS", FAIL, "rclpy cannot be imported by this Python", advice)
    if wheels and distribution:
        advice = "use one of them: a shell without the sourced ROS, or an environment without ros-* wheels"
        return Verdict("ROS", WARN, f"ROS {distribution} is sourced, but rclpy is that of the wheels, {rclpy}", advice)
    origin = "wheels from PyPI" if wheels else f"ROS {distribution}, sourced" if distribution else "ROS, sourced"
    return Verdict("ROS", OK, f"{origin}: {rclpy}")


def middleware(environ: Mapping[str, str], installed: Collection[str]) -> Verdict:
    """Whether the RMW is the one that config/fastdds.xml is for. installed: names of the RMW packages."""
    chosen = environ.get("RMW_IMPLEMENTATION", "")
    found = ", ".join(sorted(installed)) or "none"
    if chosen and chosen not in installed:
        return Verdict("RMW", FAIL, f"RMW_IMPLEMENTATION is {chosen}, installed: {found}", "install it, or unset it")
    if not installed:
        return Verdict(
            "RMW", FAIL, "no RMW implementation is installed", "apt install ros-$ROS_DISTRO-rmw-fastrtps-cpp"
        )
    used = chosen or ("rmw_fastrtps_cpp" if "rmw_fastrtps_cpp" in installed else sorted(installed)[0])
    if not used.startswith("rmw_fastrtps"):
        advice = "set its own shared memory up, or export RMW_IMPLEMENTATION=rmw_fastrtps_cpp"
        return Verdict("RMW", WARN, f"{used}: the profile for large images is for Fast DDS", advice)
    return Verdict("RMW", OK, used)


def profile(environ: Mapping[str, str], shipped: Path) -> Verdict:
    """Whether the Fast DDS profile for images is in force in this shell. shipped: config/fastdds.xml."""
    name = "Fast DDS profile"
    export = f"export {' '.join(f'{variable}={shipped}' for variable in PROFILES)}"
    if missing := [variable for variable in PROFILES if not environ.get(variable)]:
        text = "not set in this shell; vla-ros and bringup.launch.py set it for their nodes, others lose images"
        if len(missing) == 1:
            text = f"{missing[0]} is {text}"
        return Verdict(name, WARN, text, export)
    variable = next((variable for variable in PROFILES if environ[variable] != str(shipped)), PROFILE)
    given = environ[variable]
    try:
        segment, queue = _shared_memory(Path(given))
    except OSError as error:
        return Verdict(name, FAIL, f"{variable}={given}: {error.strerror}", export)
    except (ElementTree.ParseError, ValueError) as error:
        return Verdict(name, FAIL, f"{given} is not a profile: {error}", export)
    if segment < SEGMENT:
        have = f"has {segment / MIB:.1f} MiB of shared memory" if segment else "has no transport by shared memory"
        return Verdict(name, WARN, f"{given} {have}, images of 640x480 want {SEGMENT // MIB} MiB", export)
    if queue < QUEUE:
        text = f"{given} has a port_queue_capacity of {queue}: receivers that stall lose images, want {QUEUE}"
        return Verdict(name, WARN, text, export)
    return Verdict(name, OK, f"{given}, {segment // MIB} MiB of shared memory a process")


def running_nodes(proc: Path) -> Verdict:
    """Whether all running nodes of vla_ros and of ros2 run have the profile. proc: /proc."""
    without, count = [], 0
    for entry in sorted(proc.glob("[0-9]*"), key=lambda path: int(path.name)):
        try:
            words = (entry / "cmdline").read_bytes().split(b"\0")
            if not any(word.startswith(b"vla_ros.ros.nodes.") or word == b"--ros-args" for word in words):
                continue
            count += 1
            names = {line.partition(b"=")[0].decode() for line in (entry / "environ").read_bytes().split(b"\0")}
            if not names.issuperset(PROFILES):
                without.append(entry.name)
        except OSError:
            continue  # it has ended, or is another user's
    if without:
        text = f"{len(without)} of {count} have no Fast DDS profile: process {', '.join(without)}"
        return Verdict("running nodes", WARN, text, "start them with `vla-ros up`, or from a shell that exports it")
    return Verdict("running nodes", OK, f"{count}, all with the profile" if count else "none")


def shared_memory(size: int | None) -> Verdict:
    """Whether /dev/shm is large enough. size [bytes], None where there is none."""
    name = "shared memory"
    if size is None:
        return Verdict(name, FAIL, "there is no /dev/shm", "mount -t tmpfs -o size=1g tmpfs /dev/shm")
    level = FAIL if size < SHARED[0] else WARN if size < SHARED[1] else OK
    advice = "" if level == OK else "mount -o remount,size=1g /dev/shm; in Docker --shm-size=1g or --ipc=host"
    return Verdict(name, level, f"/dev/shm has {size / MIB:.0f} MiB", advice)


def socket_buffers(proc: Path) -> Verdict:
    """Whether the kernel lets a socket hold a burst of packets. proc: /proc."""
    name = "socket buffers"
    try:
        largest = int((proc / "sys/net/core/rmem_max").read_text(encoding="ascii"))
    except (OSError, ValueError):
        return Verdict(name, WARN, "net.core.rmem_max cannot be read", "look at it on the host, not in the container")
    if largest < RECEIVE_BUFFER:
        text = f"net.core.rmem_max is {largest} bytes: images between machines and fast UDP sensors lose packets"
        return Verdict(name, WARN, text, f"sudo sysctl -w net.core.rmem_max={8 * MIB}")
    return Verdict(name, OK, f"net.core.rmem_max is {largest} bytes")


def processors(count: int, sys: Path) -> Verdict:
    """Whether there are processors enough, at full speed. sys: /sys."""
    governors = sorted({_text(path) for path in sys.glob("devices/system/cpu/cpu[0-9]*/cpufreq/scaling_governor")})
    text = f"{count}, governor {', '.join(governors) or 'unknown'}"
    if "powersave" in governors:
        return Verdict(
            "processors", WARN, text + ": it makes latency vary", "sudo cpupower frequency-set -g performance"
        )
    if count < 2:
        return Verdict("processors", WARN, text, "the gate wants one beside that of the policy")
    return Verdict("processors", OK, text)


def gpu(names: Sequence[str], driver: bool) -> Verdict:
    """Whether torch finds a GPU. driver: there is an NVIDIA driver."""
    if names:
        return Verdict("GPU", OK, ", ".join(names))
    if driver:
        text = "an NVIDIA driver is there, but torch.cuda finds no GPU"
        return Verdict("GPU", WARN, text, "install a torch with CUDA: https://pytorch.org/get-started")
    return Verdict("GPU", OK, "none: policies run on the processors, the shipped one in a few milliseconds")


def cameras(dev: Path, realsense: Sequence[str] | None) -> Verdict:
    """Which cameras are plugged in. realsense: serials; None where pyrealsense2 is not installed."""
    found = [f"/dev/{path.name}" for path in sorted(dev.glob("video*"))]
    found += [f"RealSense {serial}" for serial in realsense or ()]
    if found:
        return Verdict("cameras", OK, ", ".join(found))
    text = "none found: no /dev/video*" + (
        ", no RealSense" if realsense is not None else ", pyrealsense2 not installed"
    )
    return Verdict("cameras", WARN, text, "plug one in, or try `vla-ros emulate mjpeg`")


def permissions(dev: Path, denied: Collection[str], user: str, groups: Collection[str]) -> Verdict:
    """Whether the user may open cameras and serial ports. denied: names below dev that cannot be read and written."""
    wanted = {"video*": "video", "ttyUSB*": "dialout", "ttyACM*": "dialout"}
    devices = {path.name: group for pattern, group in wanted.items() for path in sorted(dev.glob(pattern))}
    closed = [name for name in devices if name in denied]
    missing = sorted({devices[name] for name in closed})
    if closed:
        text = f"{user} may not open {', '.join(f'/dev/{name}' for name in closed)}"
        return Verdict("permissions", FAIL, text, f"sudo usermod -aG {','.join(missing)} {user}, then log in again")
    member = ", ".join(sorted({"video", "dialout"}.intersection(groups))) or "neither video nor dialout"
    text = (
        f"all {len(devices)} video and serial devices may be opened" if devices else "no video or serial device to open"
    )
    return Verdict("permissions", OK, f"{text}; {user} is in {member}")


def clock(synchronised: bool | None, run: Path) -> Verdict:
    """Whether the clock is kept right. synchronised: as the kernel says, None where it does not. run: /run."""
    files = {"chrony": "chrony/chronyd.pid", "timesyncd": "systemd/timesync"}
    keepers = [name for name, path in files.items() if (run / path).exists()]
    who = f" ({', '.join(keepers)})" if keepers else ""
    advice = "sudo apt install chrony; needed where sensors or policies are on another machine"
    if synchronised:
        return Verdict("clock", OK, f"synchronised{who}")
    if synchronised is None:
        return Verdict("clock", WARN, f"the kernel does not tell whether it is synchronised{who}", advice)
    return Verdict("clock", WARN, f"not synchronised{who}", advice)


def disk(free: int, where: Path) -> Verdict:
    """Whether recordings find room. free [bytes] at `where`."""
    level = FAIL if free < DISK[0] else WARN if free < DISK[1] else OK
    advice = "" if level == OK else "make room before recording"
    return Verdict("disk", level, f"{free / GIB:.0f} GiB free at {where}", advice)


def _shared_memory(path: Path) -> tuple[int, int]:
    """Return segment [bytes] and port queue [pieces] of the shared memory that a default participant uses; zeros for none."""
    root = ElementTree.fromstring(path.read_text(encoding="utf-8"))
    names = {element.tag.rpartition("}")[2]: element for element in root.iter()}
    if "transport_descriptor" not in names:
        return 0, 0
    space = root.tag.rpartition("}")[0] + "}" if "}" in root.tag else ""
    used = {element.text for element in root.iter(f"{space}transport_id") if element.text}
    sizes = [
        (  # else Fast DDS's own defaults
            int(descriptor.findtext(f"{space}segment_size", "524288")),
            int(descriptor.findtext(f"{space}port_queue_capacity", "512")),
        )
        for descriptor in root.iter(f"{space}transport_descriptor")
        if descriptor.findtext(f"{space}type") == "SHM" and descriptor.findtext(f"{space}transport_id") in used
    ]
    return max(sizes, default=(0, 0))


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="ascii").strip()
    except OSError:
        return "unknown"
