"""``vla-ros calibrate camera`` and ``vla-ros calibrate hand-eye``: with a ChArUco board, from pictures to files."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

Pictures = Annotated[Path, typer.Option(help="folder of the pictures; with --topic they are written there")]
Topic = Annotated[str, typer.Option(help="take the pictures from this Image topic")]
Count = Annotated[int, typer.Option(help="how many pictures to take from the topic", min=5)]
Columns = Annotated[int, typer.Option(help="squares of the board in x")]
Rows = Annotated[int, typer.Option(help="squares of the board in y")]
Square = Annotated[float, typer.Option(help="side of a square [m], measured on the print")]
Marker = Annotated[float, typer.Option(help="side of a marker [m]")]
Dictionary = Annotated[str, typer.Option(help="dictionary of the markers, as OpenCV calls it")]


def camera(
    pictures: Pictures = Path("calibration_views"),
    topic: Topic = "",
    count: Count = 20,
    output: Annotated[Path, typer.Option(help="camera_info file to write")] = Path("camera.yaml"),
    name: Annotated[str, typer.Option(help="what the camera is called in the file")] = "camera",
    columns: Columns = 7,
    rows: Rows = 5,
    square: Square = 0.030,
    marker: Marker = 0.022,
    dictionary: Dictionary = "DICT_5X5_100",
    print_board: Annotated[Path | None, typer.Option(help="write the board's picture for printing, and end")] = None,
) -> None:
    """Find a camera's focal lengths, centre and distortion from pictures of a ChArUco board."""
    import cv2

    from vla_ros.camera_calibration import Board, calibrate
    from vla_ros.camera_calibration.board import views_in
    from vla_ros.drivers.intrinsics import save_intrinsics

    board = Board(columns, rows, square, marker, dictionary)
    if print_board is not None:
        cv2.imwrite(str(print_board), board.picture())
        size = f"{columns * square * 1e3:g} x {rows * square * 1e3:g} mm"
        print(f"{print_board}: print it {size} large, fix it on something flat, and measure a square")
        return
    if topic:
        from vla_ros.ros.view_collector import collect_views

        collect_views(topic, board, pictures, count)
    seen = list(views_in(pictures, board))
    for path, view in seen:
        print(f"{path.name}: {len(view.ids)} corners" if view else f"{path.name}: no board")
    found = calibrate([view for _, view in seen if view])
    lens, doubt = found.lens, found.uncertainty
    worst = max(found.errors, key=lambda source: found.errors[source])
    print(
        f"reprojection error {found.error:.3f} px over {len(found.errors)} views (worst: {worst}, "
        f"{found.errors[worst]:.3f} px); corners in {found.coverage:.0%} of the picture"
    )
    print(
        f"fx {lens.fx:.2f} +- {doubt[0]:.2f}, fy {lens.fy:.2f} +- {doubt[1]:.2f}, "
        f"cx {lens.cx:.2f} +- {doubt[2]:.2f}, cy {lens.cy:.2f} +- {doubt[3]:.2f} px; "
        f"plumb_bob {', '.join(f'{value:.4f}' for value in lens.distortion)}"
    )
    save_intrinsics(lens, output, name)
    print(f"{output}: written; give it to camera_node as camera_info:={output}")


def hand_eye(
    pictures: Pictures = Path("hand_eye_views"),
    poses: Annotated[
        Path | None,
        typer.Option(help="YAML of 'picture: [x, y, z, qx, qy, qz, qw]', T_base_tip; default: poses.yaml there"),
    ] = None,
    camera: Annotated[Path, typer.Option(help="camera_info file of the camera")] = Path("camera.yaml"),
    mounting: Annotated[str, typer.Option(help="hand: the camera moves with the tip; base: it stays")] = "hand",
    topic: Topic = "",
    contract: Annotated[str, typer.Option(help="with --topic: the robot, whose joints tell the tip's pose")] = "",
    count: Count = 15,
    output: Annotated[Path, typer.Option(help="file to write")] = Path("hand_eye.yaml"),
    tip: Annotated[str, typer.Option(help="frame that the poses are of")] = "tool0",
    base: Annotated[str, typer.Option(help="frame that the poses are in")] = "base_link",
    optical: Annotated[str, typer.Option(help="the camera's optical frame")] = "camera_optical",
    columns: Columns = 7,
    rows: Rows = 5,
    square: Square = 0.030,
    marker: Marker = 0.022,
    dictionary: Dictionary = "DICT_5X5_100",
) -> None:
    """Find where a camera is on the arm, or beside it, from pictures of a ChArUco board and the tip's poses."""
    from vla_ros.camera_calibration import Board, solve_hand_eye
    from vla_ros.camera_calibration.board import views_in
    from vla_ros.camera_calibration.files import load_poses, save_place
    from vla_ros.drivers.intrinsics import load_intrinsics
    from vla_ros.errors import DeviceError, unknown_name

    if mounting not in ("hand", "base"):
        raise DeviceError(unknown_name("mounting", mounting, ("hand", "base")))
    board, lens = Board(columns, rows, square, marker, dictionary), load_intrinsics(camera)
    if topic:
        from vla_ros.ros.view_collector import collect_views

        collect_views(topic, board, pictures, count, contract or "tabletop_arm")
    tips = load_poses(poses or pictures / "poses.yaml")
    seen = [(path.name, view) for path, view in views_in(pictures, board) if view and path.name in tips]
    for name, view in seen:
        if view.size != (lens.width, lens.height):
            want = f"{lens.width}x{lens.height}"
            raise DeviceError(f"{name} is {view.size[0]}x{view.size[1]}, but {camera} is of {want}")
    found = solve_hand_eye([tips[name] for name, _ in seen], [view.pose(lens) for _, view in seen], mounting == "hand")
    for (name, _), (off, turned) in zip(seen, found.residuals, strict=True):
        print(f"{name}: {off * 1e3:.2f} mm, {turned * 180 / 3.141592653589793:.3f} deg")
    print(f"{len(seen)} views: {found.summary()}")
    parent = tip if mounting == "hand" else base
    print(save_place(found.camera, output, parent, optical, found.summary()))
