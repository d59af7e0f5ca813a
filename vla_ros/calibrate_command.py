"""``vla-ros calibrate``: what a sensor on this robot needs to know, measured and written to a file."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from vla_ros import calibrate_camera, calibrate_gripper, calibrate_latency

app = typer.Typer(help="Measure what the sensors of this robot need to know.", no_args_is_help=True)


app.command("camera")(calibrate_camera.camera)
app.command("hand-eye")(calibrate_camera.hand_eye)
app.command("latency")(calibrate_latency.latency)
app.command("gripper")(calibrate_gripper.gripper)


@app.command("wrench")
def wrench(
    output: Annotated[Path, typer.Option(help="the calibration, for force_torque_node")] = Path(
        "wrench_calibration.yaml"
    ),
    poses: Annotated[
        Path | None, typer.Option(help="recorded poses (CSV or YAML) instead of asking for them on the robot")
    ] = None,
    keep: Annotated[Path | None, typer.Option(help="write the poses asked for to this CSV file too")] = None,
    contract: Annotated[str, typer.Option(help="contract file, or its name in config/contracts")] = "tabletop_arm",
    frame: Annotated[str, typer.Option(help="the sensor's frame, a link of the URDF")] = "tool0",
    topic: Annotated[str, typer.Option(help="what the sensor says, with no load taken off")] = "/force_torque_node/raw",
    samples: Annotated[int, typer.Option(help="wrenches that are averaged in a pose")] = 200,
) -> None:
    """Find the tool's mass and centre of mass and the sensor's offsets from a few static poses without contact."""
    from vla_ros.contract import load_contract
    from vla_ros.kinematics import Kinematics
    from vla_ros.robot import load_urdf
    from vla_ros.wrench import calibrate, read_poses, write_poses

    robot = load_contract(contract)
    kinematics = Kinematics(load_urdf(robot.urdf), robot.joint_names, frame)
    if poses is not None:
        recorded = read_poses(poses)
    else:
        from vla_ros.ros.calibrate_wrench import ask_for_poses

        recorded = ask_for_poses(kinematics, topic, robot.state.topic, samples)
        if keep is not None:
            write_poses(keep, recorded)
    found = calibrate(recorded, kinematics)
    found.save(output)
    centre = ", ".join(f"{1e3 * value:.1f}" for value in found.centre)
    print(
        f"mass {found.mass:.4f} kg (+- {found.mass_error:.4f}), centre {centre} mm (+- {1e3 * found.centre_error:.1f})"
    )
    print(
        f"{found.poses} poses; left unexplained: {found.residual_force:.3f} N, {found.residual_torque:.4f} Nm rms; "
        f"written to {output}"
    )
