"""vla_ros: vision-language-action models on ROS 2 arms.

The data path, and the module of each step::

    driver node -> topic -> StreamBuffer -> align(t) -> Observation -> Policy -> ActionChunk -> Gate -> ros2_control
                                  |         (observation.py)        (policy/)  (action.py)   (gate.py)
                                  +-> EpisodeRecorder -> LeRobot v3 -> train -> checkpoint -> Policy
                                      (data/)                          (train/)
                                          teleop device -> teleop node -> ActionChunk -> Gate

A policy and a teleoperator are two sources of the same thing, a timed chunk of actions. The gate chooses one,
bounds it, and is the only publisher to the controllers. The recorder keeps what the sensors saw and what the gate
really sent. Only `vla_ros.ros` imports ROS.
"""

from vla_ros.action import ActionChunk
from vla_ros.contract import Contract, load_contract
from vla_ros.errors import VlaRosError
from vla_ros.observation import Aligner, Observation

__version__ = "0.1.0"
__all__ = ["ActionChunk", "Aligner", "Contract", "Observation", "VlaRosError", "__version__", "load_contract"]
