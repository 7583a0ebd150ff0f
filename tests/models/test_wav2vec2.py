"""models.wav2vec2 against transformers: same input, same frames, same text."""

import json
import subprocess
import sys
import tempfile
from functools import cache
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from transformers import Wav2Vec2CTCTokenizer, Wav2Vec2FeatureExtractor

from models.wav2vec2 import Wav2Vec2Preprocessor, open_session
from pipeline.errors import InputError, MissingPathError

# facebook/wav2vec2-base-960h: its tokens in order of id, and its feature encoder.
BASE_TOKENS = ("<pad>", "<s>", "</s>", "<unk>", *"|ETAONIHSRDLUMWCFGYPBVK'XJQZ")
BASE_KERNELS = (10, 3, 3, 3, 3, 2, 2)
BASE_STRIDES = (5, 2, 2, 2, 2, 2, 2)
BASE = Wav2Vec2Preprocessor(16_000, True, BASE_TOKENS, 0, "|", BASE_KERNELS, BASE_STRIDES)
TEXT_TOKENS = [index for index, token in enumerate(BASE_TOKENS) if len(token) == 1]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Write the four files of facebook/wav2vec2-base-960h that preprocessing reads."""
    path = tmp_path_factory.mktemp("base")
    files = {
        "config.json": {
            "model_type": "wav2vec2",
            "conv_kernel": list(BASE_KERNELS),
            "conv_stride": list(BASE_STRIDES),
        },
        "preprocessor_config.json": {"do_normalize": True, "sampling_rate": 16_000},
        "tokenizer_config.json": {"unk_token": "<unk>", "pad_token": "<pad>", "bos_token": "<s>"},
        "vocab.json": {token: index for index, token in enumerate(BASE_TOKENS)},
    }
    for name, content in files.items():
        (path / name).write_text(json.dumps(content), encoding="utf-8")
    return path


def test_reads_the_folder_of_the_base_model(folder: Path) -> None:
    assert Wav2Vec2Preprocessor.from_folder(folder) == BASE


@given(
    waveform=hnp.arrays(np.float32, st.integers(1, 3000), elements=st.floats(-1, 1, width=32)),
    padding=st.integers(0, 500),
)
@settings(deadline=None, max_examples=50)
def test_input_values_are_those_of_the_feature_extractor(
    waveform: np.ndarray, padding: int
) -> None:
    extractor = Wav2Vec2FeatureExtractor(do_normalize=True)
    expected = extractor(waveform, sampling_rate=16_000)["input_values"][0]

    values = BASE.input_values(waveform, len(waveform) + padding)

    assert values.dtype == np.float32
    np.testing.assert_array_equal(values[: len(waveform)], expected)
    assert not values[len(waveform) :].any()


def test_a_long_clip_is_cut_before_it_is_normalised() -> None:
    waveform = np.random.default_rng(0).normal(size=5000).astype(np.float32)
    waveform[4000:] *= 100
    extractor = Wav2Vec2FeatureExtractor(do_normalize=True)
    expected = extractor(
        waveform, sampling_rate=16_000, padding="max_length", max_length=4000, truncation=True
    )["input_values"][0]

    np.testing.assert_allclose(BASE.input_values(waveform, 4000), expected, atol=1e-6)


def test_an_empty_clip_is_all_padding() -> None:
    assert not BASE.input_values(np.zeros(0, np.float32), 100).any()


def test_two_channels_are_refused() -> None:
    with pytest.raises(InputError, match=r"shape \(2, 100\)"):
        BASE.input_values(np.zeros((2, 100), np.float32), 100)


@pytest.mark.parametrize(
    ("n_samples", "n_frames"),
    [(0, 0), (1, 0), (399, 0), (400, 1), (719, 1), (720, 2), (16_000, 49), (128_000, 399)],
)
def test_frames_of_the_base_model(n_samples: int, n_frames: int) -> None:
    assert BASE.n_frames(n_samples) == n_frames


@given(st.lists(st.sampled_from([0, *TEXT_TOKENS]), max_size=60))
@settings(deadline=None, max_examples=100)
def test_decodes_like_the_tokenizer(ids: list[int]) -> None:
    logits = np.eye(len(BASE_TOKENS), dtype=np.float32)[ids].reshape(-1, len(BASE_TOKENS))

    assert BASE.decode(logits, len(ids)) == _tokenizer().decode(ids)


def test_frames_of_padding_are_not_read() -> None:
    logits = np.eye(len(BASE_TOKENS), dtype=np.float32)[BASE.label_ids("CAT")]

    assert BASE.decode(logits, 2) == "CA"


def test_special_tokens_are_not_text_and_do_not_hide_a_double_letter() -> None:
    path = [BASE_TOKENS.index(token) for token in ("<s>", "L", "<pad>", "L", "<unk>", "</s>")]

    assert BASE.decode_ids(np.array(path)) == "LL"


def test_float16_logits_decode_alike() -> None:
    logits = np.random.default_rng(0).permuted(
        np.tile(np.arange(len(BASE_TOKENS)), (50, 1)), axis=1
    )

    assert BASE.decode(logits.astype(np.float16), 50) == BASE.decode(logits.astype(np.float32), 50)


def test_logits_of_another_vocabulary_are_refused() -> None:
    with pytest.raises(InputError, match=r"\(frames, 32\), not \(7, 30\)"):
        BASE.decode(np.zeros((7, 30)), 7)


@pytest.mark.parametrize(
    ("text", "normalized"),
    [
        ("Doris bought eight small chairs.", "DORIS BOUGHT EIGHT SMALL CHAIRS"),
        ("I can't — won\u2019t!", "I CAN'T WON'T"),
        ("a well-known and/or", "A WELL KNOWN AND OR"),
        ("'quoted' and \u2018quoted\u2019", "QUOTED AND QUOTED"),
        ("caf\u00e9 na\u00efve stra\u00dfe", "CAFE NAIVE STRASSE"),
        ("  two\tspaces\n", "TWO SPACES"),
        ("room 101", "ROOM"),
        ("", ""),
        ("¿…?", ""),
    ],
)
def test_text_is_normalised(text: str, normalized: str) -> None:
    assert BASE.normalize_text(text) == normalized


@given(st.text(max_size=60))
@settings(deadline=None)
def test_normalising_twice_changes_nothing(text: str) -> None:
    once = BASE.normalize_text(text)

    assert BASE.normalize_text(once) == once


@given(st.text(max_size=40))
@settings(deadline=None)
def test_labels_spell_the_normalised_text(text: str) -> None:
    labels = BASE.label_ids(text)

    assert labels.dtype == np.int64
    assert labels.tolist() == _tokenizer()(BASE.normalize_text(text))["input_ids"]


@pytest.mark.parametrize(
    "name", ["config.json", "preprocessor_config.json", "tokenizer_config.json", "vocab.json"]
)
def test_a_missing_file_is_named(folder: Path, tmp_path: Path, name: str) -> None:
    _copy(folder, tmp_path)
    (tmp_path / name).unlink()

    with pytest.raises(InputError, match=f"lacks {name}"):
        Wav2Vec2Preprocessor.from_folder(tmp_path)


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("config.json", {"model_type": "whisper"}, "of type 'whisper'; supported: 'wav2vec2'"),
        ("config.json", {"model_type": "wav2vec2", "add_adapter": True}, "adapter layers"),
        ("config.json", {"model_type": "wav2vec2"}, "lacks 'conv_kernel'"),
        ("config.json", [], "holds list, not a JSON object"),
        ("vocab.json", {"<pad>": 0, "A": 0}, "number its 2 tokens from 0"),
        ("vocab.json", {"<pad>": 0, "|": 1, "a": 2}, "lacks the letters ABC"),
        ("tokenizer_config.json", {"pad_token": "[PAD]"}, r"no '\[PAD\]', the blank"),
        ("tokenizer_config.json", {"word_delimiter_token": "_"}, "delimiter '_'"),
    ],
)
def test_an_unfit_file_is_refused(
    folder: Path, tmp_path: Path, name: str, content: object, message: str
) -> None:
    _copy(folder, tmp_path)
    (tmp_path / name).write_text(json.dumps(content), encoding="utf-8")

    with pytest.raises(InputError, match=message):
        Wav2Vec2Preprocessor.from_folder(tmp_path)


def test_a_missing_folder_is_named(tmp_path: Path) -> None:
    with pytest.raises(MissingPathError, match="nowhere is not a folder"):
        Wav2Vec2Preprocessor.from_folder(tmp_path / "nowhere")


def test_a_folder_without_onnx_says_how_to_make_it(tmp_path: Path) -> None:
    with pytest.raises(MissingPathError, match="models export"):
        open_session(tmp_path)


def test_what_is_not_onnx_is_refused(tmp_path: Path) -> None:
    (tmp_path / "model.onnx").write_bytes(b"not a model")

    with pytest.raises(InputError, match="export it again"):
        open_session(tmp_path)


def test_imports_without_torch() -> None:
    code = "import sys, models.wav2vec2; print({'torch', 'tensorflow'} & set(sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)

    assert done.stdout.strip() == "set()"


@cache
def _tokenizer() -> Wav2Vec2CTCTokenizer:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "vocab.json"
        path.write_text(json.dumps({token: index for index, token in enumerate(BASE_TOKENS)}))
        return Wav2Vec2CTCTokenizer(str(path))


def _copy(source: Path, target: Path) -> None:
    for path in source.iterdir():
        (target / path.name).write_bytes(path.read_bytes())
