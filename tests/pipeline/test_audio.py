"""Sound in and out: exact where it can be, refused with a reason where it cannot."""

import io
import struct
import time
from pathlib import Path

import librosa
import numpy as np
import pytest
import soundfile
from hypothesis import given
from hypothesis import strategies as st
from makers import encode, mp3, noise, seeded, tone

from pipeline.audio import decode, encode_audio, load_mono
from pipeline.errors import ClipError

FULL_SCALE_24_BITS = 2**23
WHOLE_FILES = {
    "flac": encode_audio(noise(0.2)),
    "wav": encode(noise(0.2), 16_000, subtype="PCM_16"),
    "mp3": mp3(np.stack([noise(0.5, 48_000), noise(0.5, 48_000)], axis=1), 48_000),
    "ogg": encode(noise(0.2), 16_000, "OGG", "VORBIS"),
}


def level_db(samples: np.ndarray) -> float:
    return float(10 * np.log10(np.mean(np.square(samples, dtype=np.float64))))


# --- what comes in whole ---


def test_channels_come_first_and_the_rate_is_that_of_the_file():
    left, right = tone(440, 0.25, 48_000), tone(1000, 0.25, 48_000)
    audio = decode(encode(np.stack([left, right], axis=1), 48_000))
    assert audio.samples.shape == (2, 12_000)
    assert (audio.samples.dtype, audio.sampling_rate, audio.seconds) == (np.float32, 48_000, 0.25)
    np.testing.assert_array_equal(audio.samples, [left, right])


def test_a_path_is_read_as_its_bytes_are(tmp_path: Path):
    path = tmp_path / "clip.flac"
    path.write_bytes(WHOLE_FILES["flac"])
    np.testing.assert_array_equal(decode(path).samples, decode(WHOLE_FILES["flac"]).samples)


def test_mono_is_the_average_of_the_channels():
    samples = np.array([[0.5, -0.25], [0.125, 0.125], [-1.0, 1.0]], dtype=np.float32)
    np.testing.assert_array_equal(load_mono(encode(samples, 16_000)), [0.125, 0.125, 0.0])


def test_one_channel_at_the_wanted_rate_is_left_exactly_as_it_is():
    samples = noise(0.3)
    np.testing.assert_array_equal(load_mono(encode(samples, 16_000)), samples)


@pytest.mark.parametrize("rate", [8_000, 11_025, 22_050, 44_100, 48_000])
def test_resampling_is_librosas(rate: int):
    samples = noise(0.4, rate)
    expected = librosa.resample(samples, orig_sr=rate, target_sr=16_000)
    resampled = load_mono(encode(samples, rate))
    assert resampled.dtype == np.float32
    assert abs(len(resampled) - 0.4 * 16_000) <= 1
    np.testing.assert_allclose(resampled, expected[: len(resampled)], atol=1e-6)


def test_a_tone_above_the_new_nyquist_frequency_does_not_come_back_as_another():
    resampled = load_mono(encode(tone(11_000, 1.0, 48_000), 48_000))
    assert level_db(resampled[1_000:-1_000]) < -90


def test_a_stereo_mp3_at_48_khz_becomes_the_tone_that_went_into_it():
    left, right = tone(500, 1.0, 48_000), tone(500, 1.0, 48_000)
    clip = mp3(np.stack([left, right], axis=1), 48_000)
    assert decode(clip).samples.shape[0] == 2
    waveform = load_mono(clip)
    assert abs(len(waveform) - 16_000) < 1_200  # an encoder pads to whole frames
    spectrum = np.abs(np.fft.rfft(waveform[2_000:-2_000] * np.hanning(len(waveform) - 4_000)))
    loudest_hz = spectrum.argmax() * 16_000 / (len(waveform) - 4_000)
    assert loudest_hz == pytest.approx(500, abs=2)
    assert level_db(waveform[2_000:-2_000]) == pytest.approx(level_db(tone(500, 1.0)), abs=0.3)


# --- what goes out ---


@seeded
@given(
    st.lists(
        st.integers(-FULL_SCALE_24_BITS, FULL_SCALE_24_BITS - 1) | st.integers(-3, 3),
        min_size=1,
        max_size=200,
    )
)
def test_24_bits_come_back_exactly(integers: list[int]):
    samples = (np.array(integers) / FULL_SCALE_24_BITS).astype(np.float32)
    np.testing.assert_array_equal(load_mono(encode_audio(samples)), samples)


def test_24_bits_keep_what_100_db_of_loss_leaves():
    quiet = 1e-5 * tone(1000, 0.5)
    error = load_mono(encode_audio(quiet)) - quiet
    assert np.abs(error).max() <= 0.5 / FULL_SCALE_24_BITS * 1.01
    assert not load_mono(encode_audio(quiet, audio_format="flac16")).any()


def test_beyond_full_scale_is_clipped_and_never_wraps_around():
    decoded = load_mono(encode_audio(np.array([1.0, 1.5, 100.0, -1.0, -1.5], dtype=np.float32)))
    highest = 1 - 1 / FULL_SCALE_24_BITS
    np.testing.assert_array_equal(decoded, np.float32([highest, highest, highest, -1, -1]))


@pytest.mark.parametrize("audio_format", ["flac24", "flac16", "wav32"])
def test_the_same_samples_make_the_same_bytes_at_any_time(audio_format):
    first = encode_audio(noise(0.1), audio_format=audio_format)
    time.sleep(1.1)  # what a header says of the time, it says in seconds
    assert encode_audio(noise(0.1), audio_format=audio_format) == first


def test_float_samples_come_back_exactly_beyond_full_scale_too():
    samples = np.float32([0.1, -1e-30, 3.0, -100.0])
    np.testing.assert_array_equal(load_mono(encode_audio(samples, audio_format="wav32")), samples)


def test_samples_are_rounded_as_libsndfile_rounds_them():
    edges = np.float32([1, -1, 1.5, -2, 0.99999994, -0.99999994, 5.96e-8, 6e-8, -6e-8, 1.79e-7])
    for waveform in (noise(0.5), np.tile(edges, 100), np.zeros(10, np.float32)):
        buffer = io.BytesIO()
        soundfile.write(buffer, waveform, 16_000, format="FLAC", subtype="PCM_24")
        stored, of_libsndfile = (
            soundfile.read(io.BytesIO(file), dtype="int32")[0]
            for file in (encode_audio(waveform), buffer.getvalue())
        )
        np.testing.assert_array_equal(stored, of_libsndfile)


# --- what is refused, and the reason the quarantine gives ---


def flac_of_claimed_length(n_samples: int) -> bytes:
    """STREAMINFO gives the number of samples in the last 36 bits of its bytes 10 to 18."""
    content = bytearray(WHOLE_FILES["flac"])
    place = slice(8 + 10, 8 + 18)
    rest = int.from_bytes(content[place]) >> 36 << 36
    content[place] = (rest | n_samples).to_bytes(8)
    return bytes(content)


def mp3_of_claimed_frames(n_frames: int) -> bytes:
    """The Xing header gives the number of frames behind its name and its flags."""
    content = bytearray(WHOLE_FILES["mp3"])
    place = content.index(b"Xing") + 8
    content[place : place + 4] = n_frames.to_bytes(4)
    return bytes(content)


def wav_of_rate(rate: int) -> bytes:
    content = bytearray(WHOLE_FILES["wav"])
    content[24:28] = struct.pack("<I", rate)
    return bytes(content)


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"", r"^empty file \(0 bytes\)$"),
        (b"<html>404 Not Found</html>", "^not decodable as audio: .*[^.]$"),
        (bytes(5_000), "^not decodable as audio: "),
        (WHOLE_FILES["flac"][:30], "^not decodable as audio: |^no samples$"),
        (encode(np.zeros(0, dtype=np.float32), 16_000), "^no samples$"),
        (encode(np.zeros((0, 2), dtype=np.float32), 16_000), "^no samples$"),
        (encode(np.float32([0.1, np.nan, 0.1]), 16_000), "^NaN or infinite samples$"),
        (encode(np.float32([0.1, np.inf, 0.1]), 16_000), "^NaN or infinite samples$"),
        (encode(np.float32([0.1, -np.inf]), 16_000), "^NaN or infinite samples$"),
        (encode(np.float32([0.5]), 48_000), "^no samples left at 16000 Hz$"),
    ],
)
def test_a_file_that_is_no_sound_is_refused_with_a_reason(content: bytes, reason: str):
    with pytest.raises(ClipError, match=reason):
        load_mono(content)


@pytest.mark.parametrize(
    "content",
    [
        pytest.param(flac_of_claimed_length(2**36 - 1), id="flac-of-50-days"),
        pytest.param(mp3_of_claimed_frames(2**32 - 1), id="mp3-of-3-years"),
        pytest.param(mp3_of_claimed_frames(1), id="mp3-shorter-than-its-own-padding"),
    ],
)
def test_a_header_that_lies_about_the_length_is_refused(content: bytes):
    with pytest.raises(ClipError, match="^its header claims an impossible length$"):
        decode(content)


def test_a_header_that_claims_one_sample_a_second_is_not_resampled():
    with pytest.raises(ClipError, match="^sampling rate 1 Hz is below 1000 Hz$"):
        load_mono(wav_of_rate(1))


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("absent.mp3", "^file is missing$"),
        ("folder", "^file cannot be read: Is a directory$"),
        ("x" * 300, "^file cannot be read: File name too long$"),
    ],
)
def test_a_path_that_is_no_file_is_refused_with_a_reason(tmp_path: Path, name: str, reason: str):
    (tmp_path / "folder").mkdir()
    with pytest.raises(ClipError, match=reason):
        decode(tmp_path / name)


@seeded
@given(
    kind=st.sampled_from(sorted(WHOLE_FILES)),
    kept=st.floats(0, 1),
    damage=st.lists(st.tuples(st.floats(0, 0.999), st.integers(0, 255)), max_size=8),
)
def test_damage_ends_in_finite_sound_or_a_reason_and_nothing_else(
    kind: str, kept: float, damage: list[tuple[float, int]]
):
    whole = WHOLE_FILES[kind]
    content = bytearray(whole[: round(kept * len(whole))])
    for place, byte in damage:
        if content:
            content[int(place * len(content))] = byte
    try:
        waveform = load_mono(bytes(content))
    except ClipError as error:
        assert str(error)
    else:
        assert waveform.ndim == 1
        assert len(waveform)
        assert np.isfinite(waveform).all()
