"""The hand-held gripper of UMI: its opening from two tags in its camera's picture, its tool's pose from a tracker."""
