"""ATI's force/torque sensors on Ethernet: the Net F/T box, ``netft://192.168.1.1``, and the Axia, ``axia://192.168.1.1``.

Records come by RDT (see `rdt`). How many counts are a unit, and which unit, is read from the page /netftapi2.xml by
HTTP: elements cfgcpf and cfgcpt, the unit's name in scfgfu and scfgtu (Net F/T manual, 9620-05-net ft-11, sections 9.1
and 10.3; Axia manual, 9610-05-Ethernet Axia-09, sections 11.1 and 12.2), or given: ``?cpf=1000000&cpt=1000000`` [counts
per N and per Nm]. Other options: http [port], rate [Hz] at which ft_sequence counts, 0 to stamp by the arrival.

The sample's time is its ft_sequence, which counts at the box's internal rate: 7000 Hz in a Net F/T (section 10.1); in
an Axia the sample rate that was set, 488 to 7912 Hz (9620-05-C-Ethernet Axia-02, section 5.3, table 5.5), read from
the page's setrate.
"""

from __future__ import annotations

import http.client
import math
import xml.etree.ElementTree as ET

from vla_ros.drivers.address import Address
from vla_ros.drivers.parsers import ParserCase
from vla_ros.drivers.rdt import RdtDriver, Scale, record_case
from vla_ros.errors import DeviceError

PAGE = "/netftapi2.xml"
HTTP_TIMEOUT = 2.0  # [s]
LARGEST_PAGE = 1 << 20  # [bytes]
COUNTS = (1.0, 1e12)  # per N or Nm, that an address may state
POUND, INCH, FOOT, STANDARD_GRAVITY = 4.4482216152605, 0.0254, 0.3048, 9.80665
FORCE_UNITS = {"n": 1.0, "kn": 1e3, "lbf": POUND, "klbf": 1e3 * POUND, "kg": STANDARD_GRAVITY}  # [N]
TORQUE_UNITS = {  # [Nm]
    "nm": 1.0,
    "nmm": 1e-3,
    "knm": 1e3,
    "lbfin": POUND * INCH,
    "lbfft": POUND * FOOT,
    "kgcm": STANDARD_GRAVITY * 0.01,
}
SAME_UNIT = {"lb": "lbf", "klb": "klbf", "kgf": "kg", "lbin": "lbfin", "lbft": "lbfft", "kgfcm": "kgcm"}

# Net F/T manual, section 18.2, "System Status Code"
NETFT_FAULTS = {
    1: "HTTP protocol failure",
    2: "internal temperature out of range",
    3: "reference voltage or power monitoring error",
    4: "serial link data unavailable",
    5: "analog board power supply too low",
    6: "analog board power supply too high",
    7: "artificial analog ground out of range",
    8: "strain gage excitation current too low",
    9: "strain gage excitation current too high",
    10: "analog board watchdog",
    11: "serial flash failure",
    12: "serial EEPROM failure",
    13: "stack check error",
    14: "watchdog",
    16: "threshold latched",
    17: "saturated: transducer saturation or A/D error",
    18: "DeviceNet failure",
    19: "EtherNet/IP failure",
    20: "RDT communication error",
    21: "CAN communication error",
    22: "network communication failure",
    23: "configuration does not fit the calibration",
    24: "settings are not valid",
    25: "halted by configuration errors",
    26: "program memory error",
    27: "serial link communication error",
    28: "analog board error",
    29: "digital board error",
    30: "CPU or RAM error",
    31: "error",
}
# Axia manual, sections 4.8 and 4.8.2, table 4.9
AXIA_FAULTS = {
    0: "internal temperature out of range",
    1: "supply voltage out of range",
    2: "gage broken",
    3: "busy with a change of settings",
    5: "hardware or other error",
    7: "calibration not accessible",
    16: "threshold latched",
    26: "saturated: gage near its range",
    27: "saturated: gage out of range",
    28: "simulated error",
    29: "calibration checksum error",
    30: "saturated: sensing range exceeded",
    31: "error",
}


class NetFt(RdtDriver):
    """A Net F/T box."""

    faults = NETFT_FAULTS
    hint = "check power, cable, address, that RDT is enabled on the box's Communications page, and the firewall"
    rate = 7000.0  # [Hz] of ft_sequence; 0: as the page says

    def __init__(self, address: Address) -> None:
        super().__init__(address, "cpf", "cpt", "http", "rate")
        self._http = address.whole("http", 80, 1, 65535)
        self._rate = address.number("rate", -1.0, 0.0, 1e5) if "rate" in address.options else None
        given = [name for name in ("cpf", "cpt") if name in address.options]
        if len(given) == 1:
            raise DeviceError(f"{address.text}: gives {given[0]} only, want both cpf and cpt [counts per N, per Nm]")
        force, torque = (address.number(name, 1.0, *COUNTS) for name in ("cpf", "cpt"))
        self._given = Scale(force, torque, self.rate) if given else None

    def settings(self) -> Scale:
        """Return the scale given in the address, else that of the box's page. Raises DeviceError."""
        scale = self._given or parse_settings(self._page(), self.device, self.rate)
        return scale if self._rate is None else Scale(scale.force, scale.torque, self._rate)

    def _page(self) -> bytes:
        where = f"http://{self.address.host}:{self._http}{PAGE}"
        connection = http.client.HTTPConnection(self.address.host, self._http, timeout=HTTP_TIMEOUT)
        try:
            connection.request("GET", PAGE)
            answer = connection.getresponse()
            page = answer.read(LARGEST_PAGE)
        except (OSError, http.client.HTTPException, ValueError) as error:
            reason = getattr(error, "strerror", None) or f"{type(error).__name__} {error}".strip()
            raise DeviceError(f"{self.device}: no settings from {where}: {reason}; {self.hint}") from None
        finally:
            connection.close()
        if answer.status != 200:
            raise DeviceError(
                f"{self.device}: {where} answers {answer.status}; is this an ATI box? Or give cpf and cpt"
            )
        return page


class Axia(NetFt):
    """An Axia with Ethernet."""

    faults = AXIA_FAULTS
    rate = 0.0


def parse_settings(page: bytes, device: str = "netft", rate: float = 7000.0) -> Scale:
    """Read the page netftapi2.xml. rate: that of ft_sequence [Hz]; 0: the page's setrate, where it is a rate.

    Raises DeviceError naming what is missing.
    """
    try:
        root = ET.fromstring(page)
    except (ET.ParseError, ValueError, LookupError) as error:
        raise DeviceError(f"{device}: {PAGE} is not XML: {error}; is this an ATI box?") from None
    texts = {element.tag.rpartition("}")[2].lower(): (element.text or "").strip() for element in root.iter()}
    scale = [
        _number(texts, device, counts) / _unit(texts, device, name, units)
        for counts, name, units in (("cfgcpf", "scfgfu", FORCE_UNITS), ("cfgcpt", "scfgtu", TORQUE_UNITS))
    ]
    set_rate = texts.get("setrate", "")
    if not rate and set_rate.isascii() and set_rate.isdigit() and 100 <= int(set_rate[:9]) <= 10_000:
        rate = float(set_rate)
    return Scale(scale[0], scale[1], rate)


def _number(texts: dict[str, str], device: str, name: str) -> float:
    text = texts.get(name, "")
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not 0 < value < math.inf:
        raise DeviceError(f"{device}: {PAGE} has {name} '{text}', want counts a unit; give cpf and cpt in the address")
    return value


def _unit(texts: dict[str, str], device: str, name: str, units: dict[str, float]) -> float:
    text = texts.get(name, "")
    letters = "".join(letter for letter in text.lower() if letter.isalpha())
    value = units.get(SAME_UNIT.get(letters, letters))
    if value is None:
        raise DeviceError(
            f"{device}: {PAGE} has unit {name} '{text}'; known: {', '.join(units)}; or give cpf and cpt in the address"
        )
    return value


def netft_case() -> ParserCase:
    """Return how the Net F/T's records are fuzzed."""
    return record_case(lambda: NetFt(Address.parse("netft://box?cpf=1e6&cpt=1e6")))


def axia_case() -> ParserCase:
    """Return how the Axia's records are fuzzed."""
    return record_case(lambda: Axia(Address.parse("axia://box?cpf=1e6&cpt=1e6&rate=1953")))


def page_case() -> ParserCase:
    """Return how the reader of the settings page is fuzzed."""
    page = (
        b'<?xml version="1.0" encoding="%s"?><netft><cfgcpf>1000000</cfgcpf><cfgcpt>1000000</cfgcpt>'
        b"<scfgfu>%s</scfgfu><scfgtu>%s</scfgtu><setrate>1953</setrate></netft>"
    )
    units = ((b"ISO-8859-1", b"N", b"Nm"), (b"UTF-8", b"lbf", b"lbf-in"))
    return ParserCase(lambda: lambda packet: parse_settings(packet, rate=0.0), tuple(page % unit for unit in units))
