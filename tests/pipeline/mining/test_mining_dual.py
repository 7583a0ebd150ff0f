"""The dual encoder: what it makes of clips and texts, training it, and what the shipped one can."""

from pathlib import Path

import numpy as np
import pytest
from makers import noise, tone, write_corpus

from pipeline.errors import ClipError, InputError
from pipeline.mining.encoders import make_encoder
from pipeline.mining.preset import EncoderChoice

ROOT = Path(__file__).parents[3]
RECOGNISER = ROOT / "models" / "mini-wav2vec2"
SHIPPED = ROOT / "models" / "mini-dual"
RELEASE = ROOT / "examples" / "mini-corpus" / "cv-corpus-1.0-2026-11-21" / "en"
SENTENCES = ("Nina sold six old ships.", "Why do stars shine?", "More tea, please.", "Stop!")
LARGEST_SHIPPED = 3_000_000  # bytes

pytestmark = pytest.mark.skipif(
    not (RECOGNISER / "model.safetensors").is_file(), reason="the small recogniser is not here"
)


def encoder(kind: str, folder: Path):
    return make_encoder(EncoderChoice(f"pipeline.mining.Dual{kind}Encoder", str(folder)))


@pytest.fixture(scope="module")
def trained(tmp_path_factory) -> Path:
    from pipeline.mining.train import DualRecipe, train_dual

    folder = tmp_path_factory.mktemp("dual")
    clips = [tone(150 + 80 * n, 0.5) + 0.1 * noise(0.5, seed=n) for n in range(4)]
    splits = {"train": clips, "validation": clips[:2]}
    corpus = write_corpus(folder / "corpus", splits, sentences=SENTENCES)
    figures = train_dual(corpus, RECOGNISER, folder / "dual", DualRecipe(epochs=3, batch_size=4), 0)
    assert figures["pairs"] == 4
    assert len(figures["validation_recall_at_1"]) == 4
    return folder / "dual"


def test_a_row_does_not_depend_on_its_batch(trained):
    clips = [noise(0.4), noise(0.9, seed=1), tone(440, 0.6)]
    speech, text = encoder("Speech", trained), encoder("Text", trained)

    rows = speech.encode_speech(clips)
    assert rows.shape == (3, 128)
    np.testing.assert_allclose(np.linalg.norm(rows, axis=1), 1, rtol=1e-5)
    for index, clip in enumerate(clips):
        np.testing.assert_allclose(speech.encode_speech([clip])[0], rows[index], atol=1e-6)
    rows = text.encode_text(SENTENCES)
    np.testing.assert_allclose(text.encode_text(SENTENCES[1:2])[0], rows[1], atol=1e-6)
    assert speech.settings != text.settings


def test_clips_and_texts_with_nothing_in_them_have_a_place(trained):
    speech, text = encoder("Speech", trained), encoder("Text", trained)

    rows = speech.encode_speech([np.zeros(8000, np.float32)])
    np.testing.assert_allclose(np.linalg.norm(rows, axis=1), 1, rtol=1e-5)
    np.testing.assert_allclose(np.linalg.norm(text.encode_text([""]), axis=1), 1, rtol=1e-5)
    with pytest.raises(ClipError, match="399 samples are fewer"):
        speech.encode_speech([np.zeros(399, np.float32)])


def test_a_damaged_checkpoint_is_refused(trained, tmp_path):
    for name in ("config.json", "model.safetensors"):
        (tmp_path / name).write_bytes((trained / name).read_bytes())
    (tmp_path / "model.safetensors").write_bytes(b"nothing")

    with pytest.raises(InputError, match="is damaged .*; train it again"):
        encoder("Text", tmp_path).encode_text(["a"])


@pytest.fixture(scope="module")
def clips() -> list[tuple[str, Path]]:
    """Sentences and clips of the test split of the shipped corpus, every fifth."""
    if not (SHIPPED / "model.safetensors").is_file():
        pytest.skip("the shipped dual encoder is not here")
    lines = (RELEASE / "test.tsv").read_text(encoding="utf-8").splitlines()
    header = lines[0].split("\t")
    rows = [dict(zip(header, line.split("\t"), strict=True)) for line in lines[1::5]]
    return [(row["sentence"], RELEASE / "clips" / row["path"]) for row in rows]


def test_the_shipped_one_is_small():
    files = [path for path in SHIPPED.rglob("*") if path.is_file()]

    assert {path.name for path in files} >= {"config.json", "model.safetensors", "README.md"}
    assert sum(path.stat().st_size for path in files) < LARGEST_SHIPPED


def test_the_shipped_one_finds_the_sentence_of_a_clip(clips):
    from pipeline.audio import load_mono
    from pipeline.mining.margin import MarginRule, align
    from pipeline.neighbours import BothWays, Neighbours, nearest_both

    speech = encoder("Speech", SHIPPED).encode_speech([load_mono(path) for _, path in clips])
    text = encoder("Text", SHIPPED).encode_text([sentence for sentence, _ in clips])
    found = nearest_both(speech, text, 16)
    twice = BothWays(*(Neighbours(2 * way.similarities, way.indices) for way in found))
    pairs = align(twice, MarginRule())

    right = (pairs.source == pairs.target).sum()
    assert 2 * right / (len(pairs) + len(clips)) > 0.8
    assert right / len(pairs) > 0.9
