"""The embedded simulation: a MuJoCo world generated from the URDF, its tasks, and a scripted operator."""
