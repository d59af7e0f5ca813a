"""The parsers of the skins: what they take, what they refuse, and that nothing makes them fail."""

from __future__ import annotations

import json

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from vla_ros.drivers.anyskin import AnySkinParser
from vla_ros.drivers.paxini import PaxiniParser, checksum, forces, read_request
from vla_ros.drivers.xela import XelaParser, layout
from vla_ros.emulators.anyskin import REST, packet
from vla_ros.emulators.paxini import PaxiniEmulator
from vla_ros.emulators.xela import XelaEmulator

SKIN = packet(REST)
fuzzed = settings(deadline=None, suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large])


def xela_message() -> str:
    emulator = XelaEmulator()
    emulator.touch = 2.5
    return emulator.message(7)


def paxini_answer() -> bytes:
    emulator = PaxiniEmulator()
    emulator.touch = 2.5
    return emulator.answer(read_request(1, 0x040E, 156))


MESSAGE, ANSWER = xela_message(), paxini_answer()
json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=5), inner, max_size=4),
    max_leaves=8,
)


@st.composite
def spoiled(draw: st.DrawFn, good: bytes) -> bytes:
    """A few good packets with bytes replaced, inserted and removed."""
    data = bytearray(good * draw(st.integers(1, 3)))
    for _ in range(draw(st.integers(0, 6))):
        place = draw(st.integers(0, max(0, len(data) - 1)))
        data[place : place + draw(st.integers(0, 8))] = draw(st.binary(max_size=8))
    return bytes(data)


class TestAnySkin:
    def test_a_sample_is_what_the_firmware_wrote(self) -> None:
        first, second = AnySkinParser().feed(SKIN * 2)
        np.testing.assert_array_equal(first[:, 1:], REST.astype(np.float32))
        np.testing.assert_array_equal(first[:, 0], np.full(5, 28.0, np.float32))
        np.testing.assert_array_equal(first, second)

    @fuzzed
    @given(st.lists(st.integers(1, 200), min_size=1, max_size=30))
    def test_samples_are_the_same_in_whatever_pieces_they_come(self, cuts: list[int]) -> None:
        parser, data, samples = AnySkinParser(), SKIN * 8, 0
        for cut in cuts:
            samples += len(parser.feed(data[:cut]))
            data = data[cut:]
        assert samples + len(parser.feed(data)) == 8
        assert parser.rejected == 0

    def test_it_finds_the_next_sample_after_bytes_that_are_none(self) -> None:
        parser = AnySkinParser()
        assert len(parser.feed(SKIN * 3)) == 3
        assert len(parser.feed(b"x" * 500 + SKIN * 3)) == 3
        assert parser.rejected >= 6  # 500 bytes are more than six samples

    def test_a_sample_cut_short_costs_no_more_than_itself(self) -> None:
        parser = AnySkinParser()
        assert len(parser.feed(SKIN * 2 + SKIN[:30] + SKIN * 4)) == 6
        assert parser.rejected == 1

    def test_line_ends_among_the_numbers_are_not_taken_for_the_end(self) -> None:
        fields = REST.copy()
        fields[2, 1] = np.frombuffer(b"\r\n\r\n", "<f4")[0]
        samples = AnySkinParser().feed(packet(fields) * 4)
        np.testing.assert_array_equal(samples[0][:, 1:], fields.astype(np.float32))

    @pytest.mark.parametrize("value", [np.nan, np.inf, 1e30])
    def test_what_no_magnetometer_can_measure_is_refused(self, value: float) -> None:
        fields = REST.copy()
        fields[1, 1] = value
        parser = AnySkinParser()
        assert len(parser.feed(packet(fields) * 3)) == 0
        assert parser.rejected > 0

    @fuzzed
    @given(st.lists(st.binary(max_size=300) | spoiled(SKIN), max_size=8))
    def test_no_bytes_make_it_fail_and_it_recovers(self, pieces: list[bytes]) -> None:
        parser = AnySkinParser()
        for piece in pieces:
            for sample in parser.feed(piece):
                assert np.isfinite(sample).all()
        assert len(parser.feed(SKIN * 6)) >= 4


class TestPaxini:
    def test_requests_are_those_of_the_vendors_example(self) -> None:
        assert read_request(1, 0x03F0, 3) == bytes.fromhex("55AA09000100FBF00300000300 06")

    def test_an_answer_holds_the_forces(self) -> None:
        ((function, address, status, payload),) = PaxiniParser().feed(ANSWER)
        assert (function, address, status, len(payload)) == (0xFB, 0x040E, 1, 156)
        emulator = PaxiniEmulator()
        emulator.touch = 2.5
        np.testing.assert_allclose(forces(payload)[0], emulator.counts() * 0.1, atol=1e-5)

    def test_shear_is_signed_and_pressure_is_not(self) -> None:
        np.testing.assert_allclose(forces(bytes([0xFF, 0x80, 0xFF]))[0, 0], [-0.1, -12.8, 25.5], atol=1e-5)

    def test_a_wrong_checksum_is_refused_and_the_next_answer_is_found(self) -> None:
        wrong = ANSWER[:-1] + bytes([ANSWER[-1] ^ 1])
        parser = PaxiniParser()
        assert len(parser.feed(wrong + b"\xaa" + ANSWER)) == 1
        assert parser.rejected >= 1
        assert checksum(ANSWER[:-1]) == ANSWER[-1]

    @fuzzed
    @given(st.lists(st.integers(1, 60), min_size=1, max_size=30))
    def test_answers_are_the_same_in_whatever_pieces_they_come(self, cuts: list[int]) -> None:
        parser, data, answers = PaxiniParser(), ANSWER * 4, 0
        for cut in cuts:
            answers += len(parser.feed(data[:cut]))
            data = data[cut:]
        assert answers + len(parser.feed(data)) == 4

    @fuzzed
    @given(st.lists(st.binary(max_size=300) | spoiled(ANSWER), max_size=8))
    def test_no_bytes_make_it_fail_and_it_recovers(self, pieces: list[bytes]) -> None:
        parser = PaxiniParser()
        for piece in pieces:
            parser.feed(piece)
        assert sum(len(parser.feed(ANSWER)) for _ in range(20)) >= 1  # a false length swallows up to 2048 bytes


class TestXela:
    def test_a_message_holds_counts_forces_and_time(self) -> None:
        (sample,) = XelaParser().feed(MESSAGE)
        emulator = XelaEmulator()
        emulator.touch = 2.5
        assert (sample.sequence, sample.model, sample.counts.shape) == (7, "uSPa44", (4, 4, 3))
        assert sample.forces is not None
        np.testing.assert_allclose(sample.forces, emulator.forces(), atol=1e-5)
        np.testing.assert_allclose(sample.counts, np.rint(33000 + 1000 * emulator.forces()), atol=1)
        assert sample.time == json.loads(MESSAGE)["1"]["time"]

    def test_a_message_of_the_manual_is_understood(self) -> None:
        data = ",".join(["FA00", "FB00", "FC00"] * 16)
        sensor = {"data": data, "sensor": "1", "taxels": 16, "model": "XR1944", "calibrated": None}
        message = {"message": 786, "time": 1619157045.6195483, "sensors": 1, "1": sensor}
        (sample,) = XelaParser().feed(json.dumps(message))
        np.testing.assert_array_equal(sample.counts[3, 3], [0xFA00, 0xFB00, 0xFC00])
        assert (sample.forces, sample.time) == (None, 1619157045.6195483)

    def test_the_greeting_is_no_sample_and_no_mistake(self) -> None:
        parser = XelaParser()
        assert parser.feed('{"message": "Welcome"}') == []
        assert parser.rejected == 0

    @pytest.mark.parametrize(
        ("model", "taxels", "shape"),
        [
            ("uSPa46", 24, (4, 6)),
            ("XR1944", 16, (4, 4)),
            ("XR1922", 4, (2, 2)),
            ("uSCuAH", 30, (1, 30)),
            ("", 4, (1, 4)),
        ],
    )
    def test_taxels_lie_as_the_model_says(self, model: str, taxels: int, shape: tuple[int, int]) -> None:
        assert layout(model, taxels) == shape

    @pytest.mark.parametrize(
        "change",
        [
            {"taxels": 15},
            {"taxels": "16"},
            {"taxels": 10**9},
            {"data": "8246,81A8"},
            {"data": "G246" + ",8000" * 47},
            {"data": 5},
            {"calibrated": [0.1, 0.2]},
            {"calibrated": ["x"] * 48},
            {"calibrated": [float("nan")] * 48},
        ],
    )
    def test_what_does_not_fit_is_refused(self, change: dict[str, object]) -> None:
        message = json.loads(MESSAGE)
        message["1"] |= change
        parser = XelaParser()
        assert parser.feed(json.dumps(message)) == []
        assert parser.rejected == 1

    @fuzzed
    @given(st.binary(max_size=300) | st.text(max_size=300) | spoiled(MESSAGE.encode()) | json_values.map(json.dumps))
    def test_no_message_makes_it_fail(self, message: bytes | str) -> None:
        for sample in XelaParser().feed(message):
            assert np.isfinite(sample.counts).all()

    @fuzzed
    @given(st.dictionaries(st.sampled_from(sorted(json.loads(MESSAGE)["1"])), json_values, max_size=4), json_values)
    def test_no_value_of_a_field_makes_it_fail(self, changes: dict[str, object], count: object) -> None:
        message = json.loads(MESSAGE)
        message["1"] |= changes
        message["message"] = count
        XelaParser().feed(json.dumps(message))
