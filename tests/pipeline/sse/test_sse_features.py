"""Frames of sections: where they lie, what they are, changed views, stopped runs, bad clips."""

import json

import numpy as np
import pytest
from makers import noise, tone
from sse_speech import write_language

from pipeline.audio import encode_audio
from pipeline.errors import CheckFailed, ClipError, InputError
from pipeline.masking.mask import StftSettings, gains
from pipeline.masking.profiles import get_profile
from pipeline.sse.augment import Augmentation, augment, change_tempo_and_pitch
from pipeline.sse.features import FeatureSettings, cut_section, make_features, section_frames
from pipeline.sse.frames import FrameSource
from pipeline.sse.lists import read_sections, read_segments
from pipeline.sse.store import check_finite, open_store

RATE = 16_000


@pytest.fixture(scope="module")
def language(tmp_path_factory):
    return write_language(tmp_path_factory.mktemp("language"), n_speakers=2, clips_each=2)


def make(language, folder, settings=None, **options):
    sections = read_sections(language.vads)
    return make_features(
        language.root,
        sections,
        settings or FeatureSettings(FrameSource()),
        folder,
        num_workers=0,
        **options,
    )


@pytest.mark.parametrize("kind", ["logmel", "mfcc"])
def test_there_are_fifty_frames_a_second(kind):
    source = FrameSource(kind)
    for n_samples in (320, 639, 640, 16_000, 16_319):
        cut = cut_section(noise(2.0), np.array([0.5, 0.5 + n_samples / RATE]), 0)
        assert section_frames(cut, source).shape == (n_samples // 320, source.n_dims)


def test_a_frame_is_of_its_place():
    waveform = np.concatenate([noise(0.4) / 100, tone(1000, 0.2), noise(0.4) / 100])
    cut = cut_section(waveform, np.array([0.0, 1.0]), 0)
    loudness = section_frames(cut, FrameSource(normalization="none")).max(axis=1)
    loud = np.flatnonzero(loudness > (loudness.max() + loudness.min()) / 2)
    assert (loud[0], loud[-1]) == (19, 29)  # 25 ms from 0.38 s on, and from 0.58 s


def test_the_level_of_a_clip_is_nothing_and_its_bands_may_be():
    waveform = noise(1.0) * np.linspace(0.2, 1, RATE, dtype=np.float32)
    cut = [cut_section(gain * waveform, np.array([0.0, 1.0]), 0) for gain in (1.0, 0.5)]
    loud, soft = (section_frames(one, FrameSource()) for one in cut)
    np.testing.assert_allclose(loud, soft, atol=1e-3)
    by_band = section_frames(cut[0], FrameSource(normalization="bands")).mean(axis=0)
    np.testing.assert_allclose(by_band, 0, atol=1e-4)


def test_an_encoder_sees_what_is_around_a_section(tmp_path):
    torch = pytest.importorskip("torch")
    from transformers import Wav2Vec2Config, Wav2Vec2Model

    torch.manual_seed(0)
    Wav2Vec2Model(
        Wav2Vec2Config(
            hidden_size=16,
            num_hidden_layers=2,
            num_attention_heads=2,
            intermediate_size=16,
            conv_dim=(8,) * 7,
            num_conv_pos_embeddings=8,
            num_conv_pos_embedding_groups=2,
        )
    ).save_pretrained(tmp_path)
    source = FrameSource("encoder", checkpoint=str(tmp_path), layer=2)
    waveform = noise(2.0)
    whole = section_frames(cut_section(waveform, np.array([0.0, 2.0]), 5.0), source)
    part = section_frames(cut_section(waveform, np.array([0.8, 1.4]), 5.0), source)
    # Not the same to the last digit: clips are normalised with the silence behind their last frame.
    np.testing.assert_allclose(part, whole[40:70], atol=0.02)
    alone = section_frames(cut_section(waveform, np.array([0.8, 1.4]), 0.0), source)
    assert np.abs(alone - whole[40:70]).max() > 0.2
    assert whole.shape == (100, 16)


def test_sections_must_lie_in_their_clip():
    with pytest.raises(ClipError, match="reaches beyond the clip, which ends at 1 s"):
        cut_section(noise(1.0), np.array([0.5, 1.2]), 0)
    with pytest.raises(ClipError, match="shorter than a frame"):
        cut_section(noise(1.0), np.array([0.5, 0.51]), 0)


@pytest.mark.parametrize(("faster", "higher"), [(1.5, 1.0), (0.6, 1.0), (1.0, 1.2), (1.3, 0.8)])
def test_tempo_and_pitch_change_by_themselves(faster, higher):
    changed = change_tempo_and_pitch(tone(1000, 1.0), faster, higher)
    assert len(changed) == pytest.approx(RATE / faster, rel=0.02)
    spectrum = np.abs(np.fft.rfft(changed))
    peak = np.fft.rfftfreq(len(changed), 1 / RATE)[spectrum.argmax()]
    assert peak == pytest.approx(1000 * higher, rel=0.02)


def test_noise_has_its_level_and_the_rest_stays():
    waveform = tone(500, 1.0)
    changed = augment(waveform, Augmentation(("noise",)), np.random.default_rng(0))
    added = changed.waveform - waveform
    ratio = 10 * np.log10(np.mean(waveform**2) / np.mean(added**2))
    assert changed.stretch == 1.0
    assert 9.5 < ratio < 30.5


def test_a_hearing_loss_attenuates_by_its_audiogram():
    profile = get_profile("hfloss")
    for frequency in (250.0, 4000.0):
        waveform = tone(frequency, 1.0)
        heard = augment(waveform, Augmentation(("hearing",), (profile,)), np.random.default_rng(0))
        steady = slice(
            RATE // 4, -RATE // 4
        )  # a tone that begins or ends has other frequencies too
        lost = 10 * np.log10(np.mean(waveform[steady] ** 2) / np.mean(heard.waveform[steady] ** 2))
        settings = StftSettings(RATE)
        gain = np.interp(frequency, settings.bins_hz, gains((profile,), settings)[0])
        assert lost == pytest.approx(-20 * np.log10(gain), abs=1.0)


def test_segments_find_their_frames_in_every_view(language, tmp_path):
    settings = FeatureSettings(FrameSource(), Augmentation(("tempo",)), n_views=2)
    make(language, tmp_path / "f", settings)
    store = open_store(tmp_path / "f")
    assert store.n_views == 3
    lines = [f"{line} 0.25 0.57\n" for line in language.vads.read_text().splitlines()]
    (tmp_path / "segments").write_text("".join(lines))
    found = store.locate(read_segments(tmp_path / "segments"))
    # The middle of frame i lies at 0.05 + 0.01 + 0.02 i seconds: 0.25 to 0.57 holds 10 to 25.
    assert (found.first, found.last) == (pytest.approx(10), pytest.approx(26))
    views = store.views_of()
    for section, row in enumerate(found.rows):
        for view in views[section]:
            ranges = store.ranges(np.array([view]), np.array([[0.25, 0.57]]))
            seconds = (ranges.last - ranges.first) / 50
            assert seconds == pytest.approx(0.32 * store.stretch[view], abs=0.021)
        assert store.view[row] == 0


def test_the_same_list_and_seed_give_the_same_bytes_however_they_are_made(
    language, tmp_path, monkeypatch
):
    monkeypatch.setattr("pipeline.sse.features.SECTIONS_PER_SHARD", 2)
    settings = FeatureSettings(FrameSource(), Augmentation(("tempo", "noise")), n_views=1)
    make(language, tmp_path / "whole", settings)
    work = tmp_path / "stopped"
    real, made = np.save, []

    def stop(*arguments, **options):
        made.append(1)
        if len(made) == 2:
            raise KeyboardInterrupt
        real(*arguments, **options)

    monkeypatch.setattr(np, "save", stop)
    with pytest.raises(KeyboardInterrupt):
        make(language, work, settings)
    monkeypatch.setattr(np, "save", real)
    first = (work / "frames_00000.npy").stat().st_ino
    make(language, work, settings)
    assert (work / "frames_00000.npy").stat().st_ino == first  # not made again
    for path in sorted((tmp_path / "whole").glob("*")):
        assert (work / path.name).read_bytes() == path.read_bytes(), path.name
    with pytest.raises(InputError, match=r"were made otherwise \(dtype differ\)"):
        make(language, work, FeatureSettings(FrameSource(), settings.augmentation, 1, 0, "float16"))


def test_bad_clips_are_left_out_with_a_reason(language, tmp_path):
    root = tmp_path / "wavs"
    root.mkdir()
    (root / "good.flac").write_bytes(encode_audio(noise(1.0)))
    (root / "bad.flac").write_bytes(b"RIFF....")
    lines = ["good.flac a 0 0.9", "bad.flac a 0 0.9", "none.flac a 0 1", "good.flac a 0.95 3"]
    (tmp_path / "vads").write_text("\n".join(lines))
    sections = read_sections(tmp_path / "vads")
    settings = FeatureSettings(FrameSource())
    report = make_features(root, sections, settings, tmp_path / "f", num_workers=0)
    assert (report.sections, report.quarantined) == (4, 3)
    reasons = [
        json.loads(line)["reason"]
        for line in (tmp_path / "f" / "quarantine_00000.jsonl").read_text().splitlines()
    ]
    assert "not decodable" in reasons[0]
    assert "missing" in reasons[1]
    assert "reaches beyond the clip" in reasons[2]
    assert len(open_store(tmp_path / "f")) == 1
    with pytest.raises(CheckFailed, match="more than --max-failures 2"):
        make_features(root, sections, settings, tmp_path / "f", num_workers=0, max_failures=2)


def test_frames_that_are_nan_are_named(language, tmp_path):
    make(language, tmp_path / "f")
    path = tmp_path / "f" / "frames_00000.npy"
    frames = np.load(path)
    frames[5, 3] = np.nan
    np.save(path, frames)
    with pytest.raises(InputError, match=r"NaN or infinite features, in 0.05 to .* s of s0/0.flac"):
        check_finite(open_store(tmp_path / "f"))


def test_an_unknown_speaker_and_section_are_named(language, tmp_path):
    make(language, tmp_path / "f")
    store = open_store(tmp_path / "f")
    line = language.vads.read_text().splitlines()[0]
    list_ = tmp_path / "segments"
    list_.write_text(f"{line.replace(' s0 ', ' zoe ')} 0.25 0.57\n")
    with pytest.raises(InputError, match="unknown speaker 'zoe' of s0/0.flac"):
        store.locate(read_segments(list_))
    list_.write_text(f"{line.replace(' 0.05 ', ' 0.06 ')} 0.25 0.57\n")
    with pytest.raises(InputError, match="has no section 0.06 to"):
        store.locate(read_segments(list_))
