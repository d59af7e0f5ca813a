"""Addresses of devices: what is read from them, and how mistakes are answered."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vla_ros.drivers import Address, make_driver
from vla_ros.errors import DeviceError

names = st.text("abcdefghijklmnopqrstuvwxyz", min_size=1, max_size=8)


@pytest.mark.parametrize(
    ("text", "device", "host", "port", "path", "options"),
    [
        ("netft", "netft", "", None, "", {}),
        ("netft://192.168.1.1", "netft", "192.168.1.1", None, "", {}),
        ("netft://box.lan:50000?cpf=1000000", "netft", "box.lan", 50000, "", {"cpf": "1000000"}),
        ("ft300:///dev/ttyUSB0", "ft300", "", None, "/dev/ttyUSB0", {}),
        ("topic:/wrist/wrench", "topic", "", None, "/wrist/wrench", {}),
    ],
)
def test_an_address_is_taken_apart(text: str, device: str, host: str, port: int, path: str, options: dict) -> None:
    address = Address.parse(text)
    assert (address.device, address.host, address.port, address.path) == (device, host, port, path)
    assert address.options == options


@given(st.text(max_size=60))
def test_any_text_is_an_address_or_a_device_error(text: str) -> None:
    try:
        address = Address.parse(text)
    except DeviceError as error:
        assert text in str(error)
    else:
        assert address.device


@given(device=names, port=st.integers(1, 65535), options=st.dictionaries(names, names, max_size=3))
def test_what_was_put_together_comes_out_again(device: str, port: int, options: dict[str, str]) -> None:
    query = "&".join(f"{key}={value}" for key, value in options.items())
    address = Address.parse(f"{device}://10.0.0.7:{port}?{query}" if query else f"{device}://10.0.0.7:{port}")
    assert (address.device, address.port, address.options) == (device, port, options)


@pytest.mark.parametrize("value", ["", "abc", "nan", "inf", "-1", "101"])
def test_an_option_that_is_no_number_of_the_range_is_refused_by_name(value: str) -> None:
    address = Address.parse(f"netft://box?rate={value}")
    with pytest.raises(DeviceError, match=rf"rate is '{value}', want a number from 0 to 100"):
        address.number("rate", 1.0, 0.0, 100.0)


def test_a_whole_number_and_a_word_are_checked() -> None:
    address = Address.parse("onrobot://box?filter=2.5&mode=fats")
    with pytest.raises(DeviceError, match="filter is '2.5', want a whole number"):
        address.whole("filter", 4, 0, 6)
    with pytest.raises(DeviceError, match="did you mean 'fast'"):
        address.text_of("mode", "slow", ("fast", "slow"))
    with pytest.raises(DeviceError, match="unknown option 'mode'; valid: filter"):
        address.only("filter")
    assert address.whole("rate", 7, 0, 9) == 7


@pytest.mark.parametrize("text", ["", "192.168.1.1", "netft://box:high", "netft://box?cpf"])
def test_a_malformed_address_says_what_is_wanted(text: str) -> None:
    with pytest.raises(DeviceError, match=r"want device://host:port/path\?option=value"):
        Address.parse(text)


def test_an_unknown_device_is_answered_with_the_known_ones() -> None:
    with pytest.raises(DeviceError, match="unknown force_torque device 'netfd'"):
        make_driver("force_torque", "netfd://192.168.1.1")
