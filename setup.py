"""Name, version, packages, data files and entry points.

They stand here and not in pyproject.toml because colcon build --symlink-install reads only this file.
"""

from pathlib import Path

from setuptools import find_packages, setup

NAME = "vla_ros"
NODES = ["mujoco_node", "gate_node", "policy_node", "teleop_node", "recorder_node"]
NODES += ["camera_node", "force_torque_node", "tactile_node", "tracker_node", "umi_node"]
SHARED_FOLDERS = ["config", "launch", "urdf"]


def shared_files():
    """(destination, files) pairs that put every file of SHARED_FOLDERS under share/vla_ros."""
    for top in SHARED_FOLDERS:
        for folder in sorted({path.parent for path in Path(top).rglob("*") if _is_data(path)}):
            files = sorted(str(path) for path in folder.iterdir() if _is_data(path))
            yield f"share/{NAME}/{folder}", files


def _is_data(path):
    return path.is_file() and "__pycache__" not in path.parts and not path.name.startswith(".")


ROS_WHEELS = [
    "ros-jazzy-rclpy>=7.1,<8",
    "ros-jazzy-common-interfaces>=5.3,<6",
    "ros-jazzy-rmw-fastrtps-cpp>=8.4,<9",
]
SIM = ["mujoco>=3.3"]
TRAIN = ["tensorboard>=2.14"]
BAGS = ["rosbags>=0.10.9", "mcap>=1.2"]  # dataset from-bag and to-bag, raw recordings
LEADER = ["dynamixel-sdk>=3.7", "feetech-servo-sdk>=1.0"]  # leader arms of serial servos; both bring pyserial
VIEW = ["rerun-sdk>=0.22"]  # dataset view --rerun
ENCODERS = ["transformers>=5.0"]  # pretrained vision and language models as encoders
TOUCH = ["websockets>=15.0"]  # XELA's server; the other skins need nothing more
MOCAP = ["websockets>=15.0", "cryptography>=42.0"]  # headsets and phones by WebXR; the other trackers need nothing more
VIVE = ["openvr>=2.12; platform_machine == 'x86_64'"]  # Vive trackers; brings Valve's library, not SteamVR
KEYPOINTS = [
    "mediapipe>=0.10.35"
]  # a bare hand by cameras; brings opencv-contrib-python, which lies over opencv-python
MOCAP_CLIENTS = ["natnet>=0.3"]  # by others, to hold the emulators against
TOUCH_CLIENTS = ["anyskin>=1.0", "paxini-sdk>=0.1"]  # by others, to hold the emulators against
UMI = ["zarr>=2.16", "imagecodecs>=2023.3"]  # dataset from-umi; the public sets' pictures are in JPEG XL
REALSENSE = ["pyrealsense2>=2.54; platform_machine == 'x86_64'"]  # also needs libusb-1.0
TEST = [
    *("pytest>=7.0", "pytest-timeout>=2.1", "hypothesis>=6.80", "catkin_pkg>=1.0"),
    *("setuptools>=64,<80", "wheel"),  # the install tests build without isolation; colcon needs < 80
    *("NetFT>=2.0", "ft300python>=1.0.2", "pymodbus<3"),  # independent clients, on which emulated sensors are tried
    *SIM,
    *TRAIN,
    *BAGS,
    *ENCODERS,
    *TOUCH,
    *TOUCH_CLIENTS,
    *MOCAP,
    *MOCAP_CLIENTS,
    *VIVE,
    "mcap-ros2-support>=0.5",  # MCAP's own decoder, to read our raw recordings with
    *LEADER,
    *REALSENSE,
    *UMI,
]
DEV = ["ruff>=0.9", "mypy>=1.14", "types-PyYAML", *TEST]

setup(
    name=NAME,
    version="0.1.0",
    description="ROS 2 stack for vision-language-action policies: bring up, teach, train, deploy, evaluate.",
    long_description=Path("README.md").read_text(encoding="utf-8") if Path("README.md").exists() else "",
    long_description_content_type="text/markdown",
    maintainer="vla_ros maintainers",
    maintainer_email="maintainers@vla-ros.example.com",
    license="Apache-2.0",
    python_requires=">=3.10,<3.14",
    packages=find_packages(include=[NAME, f"{NAME}.*"]),
    package_data={NAME: ["py.typed", "emulators/*.c"]},
    data_files=[
        ("share/ament_index/resource_index/packages", [f"resource/{NAME}"]),
        (f"share/{NAME}", ["package.xml"]),
        (f"lib/{NAME}", [f"scripts/nodes/{node}" for node in NODES]),  # where ros2 run and launch look
        *shared_files(),
    ],
    install_requires=[
        "av>=14.0",
        "numpy>=2.0",
        "opencv-python>=4.10",
        "pin>=3.4",
        "pin-pink>=4.0",  # differential inverse kinematics of poses, with the solver daqp
        "daqp>=0.8.2",
        "pyarrow>=15.0",
        "pyyaml>=6.0",
        "rich>=13.0",
        "safetensors>=0.4.3",
        "scipy>=1.13",
        "torch>=2.4",
        "typer>=0.12",
        "xacro>=2.0",
    ],
    extras_require={
        "sim": SIM,
        "train": TRAIN,
        "bags": BAGS,
        "view": VIEW,
        "encoders": ENCODERS,
        "touch": TOUCH,
        "leader": LEADER,
        "mocap": MOCAP,
        "vive": VIVE,
        "keypoints": KEYPOINTS,
        "realsense": REALSENSE,
        "umi": UMI,
        "ros": ROS_WHEELS,
        "test": TEST,
        "dev": DEV,
    },
    entry_points={"console_scripts": [f"vla-ros = {NAME}.cli:main"]},
    zip_safe=False,
)
