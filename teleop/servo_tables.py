"""Where the servos of leader arms keep what is read from them, and what their error bits mean."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True)
class Register:
    """address and size [bytes], little-endian. sign: the sign bit of a sign-magnitude number, -1: two's complement, None:
    without sign.
    """

    address: int
    size: int
    sign: int | None = None

    def value(self, data: bytes) -> int:
        """Return what the register's `size` bytes say."""
        number = int.from_bytes(data[: self.size], "little")
        if self.sign is None:
            return number
        if self.sign < 0:
            return number - (1 << 8 * self.size) if number >> (8 * self.size - 1) else number
        magnitude = number & ((1 << self.sign) - 1)
        return -magnitude if number >> self.sign & 1 else magnitude


@dataclass(frozen=True)
class CurrentControl:
    """mode: register of the operating mode, by_current: its value for current control. goal: the current [mA].

    watchdog: after so many units of `watchdog_unit` [s] without a packet on the bus the servo lets go by itself.
    """

    mode: Register
    by_current: int
    goal: Register
    watchdog: Register
    watchdog_unit: float


@dataclass(frozen=True)
class ServoTable:
    """One make of servos. sdk: the vendor's module, package: what pip calls it, protocol: PacketHandler's argument.

    voltage and lowest: present and lowest allowed supply [0.1 V]. faults: bits of `status`. alert: bits of a status packet's
    error field that tell of one of them; the others are about the instruction. alert_is_fault: those bits are `faults` too.
    drive_mode: bit 0 says that the servo counts the other way round; None where it cannot.
    """

    make: str
    sdk: str
    package: str
    protocol: float
    baud: int
    position: Register
    torque: Register
    voltage: Register
    lowest: Register
    homing: Register
    status: Register
    faults: Mapping[int, str]
    alert: int
    length: tuple[
        int, int
    ]  # in a status packet: where its length field is, and how much more than parameters it counts
    drive_mode: Register | None = None
    current: CurrentControl | None = None  # of servos that can be told a current

    def faults_in(self, bits: int) -> tuple[str, ...]:
        """Return the names of the set bits."""
        return tuple(name for bit, name in self.faults.items() if bits >> bit & 1)


# ROBOTIS e-Manual, "XL330-M288", section 2.2-2.3 "Control Table of EEPROM / RAM Area" (the same addresses for XL430, XC330 and
# all of the X series); 2.4.26 "Hardware Error Status(70)"; "DYNAMIXEL Protocol 2.0", section "Error": bit 7 is the alert.
DYNAMIXEL = ServoTable(
    make="Dynamixel",
    sdk="dynamixel_sdk",
    package="dynamixel-sdk",
    protocol=2.0,
    baud=57_600,
    position=Register(132, 4, -1),
    torque=Register(64, 1),
    voltage=Register(144, 2),
    lowest=Register(34, 2),
    homing=Register(20, 4, -1),
    status=Register(70, 1),
    faults={0: "input voltage", 2: "overheating", 3: "motor encoder", 4: "electrical shock", 5: "overload"},
    alert=0x80,
    length=(5, 4),
    drive_mode=Register(10, 1),  # "Drive Mode(10)": turns position, velocity, current and PWM round
    # 2.2.6 "Operating Mode(11)", 2.4.12 "Bus Watchdog(98)" [20 ms], 2.4.14 "Goal Current(102)", in units of 1 mA on an XL330
    current=CurrentControl(Register(11, 1), 0, Register(102, 2, -1), Register(98, 1), 0.02),
)

# Feetech, "Magnetic Encoder STS Servo, Memory Table": 2.2 "EPROM", 2.3 "SRAM Control", 2.4 "SRAM Feedback", 3.2 "Servo
# Status"; and "Communication Protocol Manual": the error field of a response is the servo status.
FEETECH = ServoTable(
    make="Feetech",
    sdk="scservo_sdk",
    package="feetech-servo-sdk",
    protocol=0,
    baud=1_000_000,
    position=Register(56, 2, 15),
    torque=Register(40, 1),
    voltage=Register(62, 1),
    lowest=Register(15, 1),
    homing=Register(31, 2, 11),
    status=Register(65, 1),
    faults={0: "input voltage", 1: "magnetic encoder", 2: "overheating", 3: "overcurrent", 5: "overload"},
    alert=0x2F,
    length=(3, 2),
)
