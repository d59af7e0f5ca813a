"""An OnRobot compute box with a HEX sensor (see `vla_ros.drivers.onrobot`)."""

from __future__ import annotations

from vla_ros.emulators.rdt import RdtEmulator


class OnRobotEmulator(RdtEmulator):
    """Counts 10000 a N and 100000 a Nm; obeys period, filter and bias. filter: the number that was last set."""

    name = "onrobot"
    force_counts, torque_counts = 10_000.0, 100_000.0
    internal_rate = 1000.0

    def __init__(self, host: str = "127.0.0.1", port: int = 0, rate: float = 100.0) -> None:
        super().__init__(host, port, rate)
        self.filter = 4

    def on_command(self, command: int, value: int) -> None:
        """Set the period [ms], the filter, or the bias."""
        if command == 0x0082 and value:
            self.rate = 1000.0 / value
        elif command == 0x0081:
            self.filter = value
        elif command == 0x0042:
            self._bias = tuple(self.wrench) if value else (0.0,) * 6
