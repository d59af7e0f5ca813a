"""Everything that touches ROS 2: conversions, parameters, lifecycle, the nodes, and the graph they form.

Nothing outside this package (and ``launch/``) imports ROS.
"""
