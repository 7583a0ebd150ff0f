"""What normalisation does to a loss, and what storage does to what is left.

For the matrix sentences in the test split of examples/mini-corpus (110 clips): the mean gain of
each octave band re the input, loss and normalisation together; and the signal-to-noise ratio of
storing the result in 16 and in 24 bits.
"""

from pairs import compare as _  # isort: skip # noqa: F401 - sets the number of threads first

from pathlib import Path

import numpy as np

from pipeline.audio import encode_audio, load_mono
from pipeline.masking.mask import StftSettings, apply_mask, gains, normalize
from pipeline.masking.profiles import OCTAVES_HZ, PILOT_PROFILES, get_profile

RELEASE = Path(__file__).parents[1] / "examples/mini-corpus/cv-corpus-1.0-2026-11-21/en"
RATE = 16_000


def main() -> None:
    clips = [load_mono(path) for path in matrix_clips()]
    settings = StftSettings(RATE)
    gain = gains(tuple(map(get_profile, PILOT_PROFILES)), settings)
    print(f"{len(clips)} clips; {'dB re input':22}" + "".join(f"{hz:8g}" for hz in OCTAVES_HZ))
    stored: dict[str, list[np.ndarray]] = {}
    for mode in ("shared", "peak"):
        changes, applied = [], []
        for clip in clips:
            peak = float(np.abs(clip).max())
            masked = normalize(apply_mask(clip, gain, settings), mode, peak)
            changes.append([bands_db(w) - bands_db(clip) for w in masked.waveforms])
            applied.append(masked.output_gain_db)
            if mode == "shared":
                for name, waveform in zip(PILOT_PROFILES, masked.waveforms, strict=True):
                    stored.setdefault(name, []).append(waveform)
        for name, change, db in zip(
            PILOT_PROFILES, np.mean(changes, axis=0), np.transpose(applied), strict=True
        ):
            row = "".join(f"{value:+8.1f}" for value in change)
            applied_db = f"gain {db.mean():.1f} ({db.min():.0f} to {db.max():.0f})"
            print(f"{name + ', ' + mode:33}{row}   {applied_db}")
    for name in PILOT_PROFILES[1:]:
        for bits in ("flac16", "flac24"):
            ratios = []
            for waveform in stored[name]:
                error = load_mono(encode_audio(waveform, audio_format=bits)) - waveform
                ratios.append(bands_db(waveform) - bands_db(error.astype(np.float64)))
            row = "".join(f"{value:8.1f}" for value in np.mean(ratios, axis=0))
            print(f"{'stored: ' + name + ', ' + bits:33}{row}")
    for name, waveforms in stored.items():
        size = sum(len(encode_audio(waveform)) for waveform in waveforms)
        hours = sum(map(len, waveforms)) / RATE / 3600
        print(f"{name}: {size / 1e6 / hours:.0f} MB an hour")


def matrix_clips() -> list[Path]:
    lines = (RELEASE / "test.tsv").read_text(encoding="utf-8").splitlines()
    header = lines[0].split("\t")
    rows = (dict(zip(header, line.split("\t"), strict=True)) for line in lines[1:])
    chosen = (row for row in rows if row["sentence_domain"] == "language_fundamentals")
    return [RELEASE / "clips" / row["path"] for row in chosen]


def bands_db(waveform: np.ndarray) -> np.ndarray:
    """Level of each octave band."""
    power = np.abs(np.fft.rfft(np.asarray(waveform, dtype=np.float64))) ** 2
    bins_hz = np.fft.rfftfreq(len(waveform), 1 / RATE)
    low, high = np.array(OCTAVES_HZ) / np.sqrt(2), np.array(OCTAVES_HZ) * np.sqrt(2)
    inside = (bins_hz >= low[:, None]) & (bins_hz < high[:, None])
    return 10 * np.log10((power * inside).sum(axis=1) + 1e-30)


if __name__ == "__main__":
    main()
