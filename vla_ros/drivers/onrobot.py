"""OnRobot's HEX-E and HEX-H on their compute box: ``onrobot://192.168.1.1``.

The box takes requests and sends records of RDT's form on UDP port 49152 (see `rdt`), with commands of its own:
0x0082 sets the period [ms], 0x0081 the box's filter, 0x0042 its bias (0xFF on, 0 off), 0x0002 starts, 0x0000 stops. A
record holds the sequence number, the sample counter, the status, and counts: 10000 a N, 100000 a Nm. So the vendor's
example "Ethernet DAQ - Highspeed UDP C Sample" (highspeed_udp.c), which also names the filters.

Options: rate [Hz], a divisor of 1000; filter 0 (none), 1 (500 Hz), 2 (150), 3 (50), 4 (15), 5 (5), 6 (1.5); cpf and cpt
[counts per N and Nm] where the box was set otherwise. The rate of the sample counter is not documented, so samples are
stamped by their arrival. Nor are the bits of the status: they are reported by number.
"""

from __future__ import annotations

from vla_ros.drivers.address import Address
from vla_ros.drivers.parsers import ParserCase
from vla_ros.drivers.rdt import BIAS, START, RdtDriver, Scale, record_case, request
from vla_ros.errors import DeviceError

FILTER, SPEED = 0x0081, 0x0082
FORCE_COUNTS, TORQUE_COUNTS = 10_000.0, 100_000.0  # [counts/N, counts/Nm]
RATES = (500, 250, 200, 125, 100, 50, 40, 25, 20, 10)  # [Hz] of whole periods [ms]
BIAS_OFF = 0


class OnRobotHex(RdtDriver):
    """A HEX sensor on a compute box."""

    hint = "check the compute box's power, cable and address, and that UDP port 49152 passes the firewall"

    def __init__(self, address: Address) -> None:
        super().__init__(address, "rate", "filter", "cpf", "cpt")
        rate = address.whole("rate", 500, RATES[-1], RATES[0])
        if rate not in RATES:
            raise DeviceError(f"{address.text}: rate is {rate} Hz; valid: {', '.join(map(str, RATES))}")
        self._period = 1000 // rate  # [ms]
        self._filter = address.whole("filter", 0, 0, 6)
        self._given = Scale(
            address.number("cpf", FORCE_COUNTS, 1.0, 1e12), address.number("cpt", TORQUE_COUNTS, 1.0, 1e12)
        )

    def settings(self) -> Scale:
        """Return the scale of the address, else the box's default."""
        return self._given

    def requests(self) -> list[bytes]:
        """Return the requests for period, filter, no bias, and the stream."""
        return [
            request(SPEED, self._period),
            request(FILTER, self._filter),
            request(BIAS, BIAS_OFF),
            request(START),
        ]


def onrobot_case() -> ParserCase:
    """Return how the records are fuzzed."""
    return record_case(lambda: OnRobotHex(Address.parse("onrobot://box")))
