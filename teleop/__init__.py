"""Teleoperation devices; imported as vla_ros.teleop.

A device delivers `TeleopSample`; `LeaderFollower` turns samples into action chunks for the gate;
`registry.make_device` makes a device by its name.
"""

from vla_ros.teleop.device import LeaderDevice, TeleopSample, WorldWatcher
from vla_ros.teleop.leader_follower import LeaderFollower
from vla_ros.teleop.scripted import ScriptedLeader

__all__ = ["LeaderDevice", "LeaderFollower", "ScriptedLeader", "TeleopSample", "WorldWatcher"]
