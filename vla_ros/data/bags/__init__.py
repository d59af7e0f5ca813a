"""Bags (rosbag2) and datasets, both ways, and raw recordings beside a dataset. Needs the extra ``bags``, no ROS."""
