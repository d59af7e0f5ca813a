"""Message definitions of the ROS types in use, for files that others are to read. From the library rosbags."""

from __future__ import annotations

from functools import lru_cache
from typing import Any

from vla_ros.errors import DatasetError


@lru_cache(maxsize=1)
def typestore() -> Any:
    """Return the message types of ROS 2 Jazzy. Raises DatasetError if the library for bags is not installed."""
    try:
        from rosbags.typesys import Stores, get_typestore
    except ImportError as error:
        raise DatasetError(f"bags need the package rosbags: pip install rosbags ({error})") from None
    return get_typestore(Stores.ROS2_JAZZY)


def definition(type_name: str) -> str:
    """Return a type's definition with all that it contains, as MCAP's schema encoding ``ros2msg`` wants it.

    Raises DatasetError for a type that ROS 2 Jazzy's common interfaces lack.
    """
    store = typestore()
    if type_name not in store.types:
        raise DatasetError(f"no definition of the message type '{type_name}': it is not one of ROS 2's common ones")
    return str(store.generate_msgdef(type_name, ros_version=2)[0])
