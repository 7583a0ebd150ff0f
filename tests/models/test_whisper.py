"""models.whisper against transformers: same features, same tokens, same words."""

import json
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from small_models import make_whisper
from transformers import WhisperFeatureExtractor, WhisperForConditionalGeneration

from models.checkpoint import open_session
from models.export import export_onnx
from models.whisper import WhisperPreprocessor
from models.whisper_decoding import StepGraphs, WholeGraph, open_network, transcribe
from pipeline.errors import ClipError, InputError, MissingPathError
from pipeline.logmel.tokens import LabelSettings, label_ids


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("tiny-whisper")
    make_whisper(path)
    export_onnx(path)
    return path


@pytest.fixture(scope="module")
def preprocessor(folder: Path) -> WhisperPreprocessor:
    return WhisperPreprocessor.from_folder(folder)


@pytest.fixture(scope="module")
def waveforms() -> list[np.ndarray]:
    """Three clips, the last longer than the chunk."""
    rng = np.random.default_rng(0)
    return [rng.normal(0, 0.1, n).astype(np.float32) for n in (8_000, 40_000, 120_000)]


@pytest.fixture
def copy(folder: Path, tmp_path: Path) -> Path:
    shutil.copytree(folder, tmp_path / "copy")
    return tmp_path / "copy"


def change(folder: Path, name: str, **values: object) -> None:
    content = json.loads((folder / name).read_text())
    (folder / name).write_text(json.dumps(content | values))


def test_features_are_those_of_transformers(
    preprocessor: WhisperPreprocessor, folder: Path, waveforms: list[np.ndarray]
) -> None:
    extractor = WhisperFeatureExtractor.from_pretrained(folder)
    expected = extractor(waveforms, sampling_rate=16_000, return_tensors="np").input_features

    found = preprocessor.input_features(waveforms)

    assert found.shape == (3, 80, 600)
    np.testing.assert_allclose(found, expected, atol=1e-4)


def test_an_empty_clip_is_refused(preprocessor: WhisperPreprocessor) -> None:
    with pytest.raises(ClipError, match="mono waveform"):
        preprocessor.input_features([np.zeros(0, np.float32)])


def test_labels_are_those_of_the_log_mel_stage(preprocessor: WhisperPreprocessor) -> None:
    text = "Kathy got sixty cheap shoes."

    ids = preprocessor.label_ids(text)

    assert ids.tolist() == label_ids([text], LabelSettings())[0]
    assert tuple(ids[:4]) == preprocessor.prompt_ids
    assert ids[-1] == preprocessor.end_id
    assert preprocessor.decode(ids) == text
    assert "".join(preprocessor.token_texts(ids[4:-1])) == text


def test_rows_of_tokens_are_filled_with_the_end(preprocessor: WhisperPreprocessor) -> None:
    end = preprocessor.end_id

    assert preprocessor.decoder_input_ids([[5], [6, 7]], 3).tolist() == [[5, end, end], [6, 7, end]]
    with pytest.raises(InputError, match="4 tokens do not fit the decoder, which takes 3"):
        preprocessor.decoder_input_ids([[1, 2, 3, 4]], 3)


@pytest.mark.parametrize("form", ["whole", "steps"])
def test_greedy_decoding_is_that_of_transformers(
    folder: Path, preprocessor: WhisperPreprocessor, waveforms: list[np.ndarray], form: str
) -> None:
    features = preprocessor.input_features(waveforms)
    model = WhisperForConditionalGeneration.from_pretrained(folder).eval()
    ids = torch.tensor([preprocessor.prompt_ids] * 3)
    logits = []
    for _ in range(28):
        with torch.no_grad():
            output = model(input_features=torch.from_numpy(features), decoder_input_ids=ids)
        logits.append(output.logits[:, -1])
        ids = torch.cat([ids, logits[-1].argmax(1, keepdim=True)], dim=1)
    if form == "whole":
        network = WholeGraph(open_session(folder, num_threads=1), preprocessor.end_id)
    else:
        network = open_network(folder, preprocessor, num_threads=1)
        assert isinstance(network, StepGraphs)

    found = transcribe(network, features, preprocessor)

    n_steps = found.ids.shape[1]
    assert found.ids.max() > 0
    np.testing.assert_allclose(
        found.encoder_hidden_states, output.encoder_last_hidden_state.numpy(), atol=1e-4
    )
    for row, expected in enumerate(ids[:, 4:].numpy()):
        n = found.n_tokens[row]
        assert found.tokens(row).tolist() == expected[:n].tolist()
        assert found.ended[row] == (expected[n - 1] == preprocessor.end_id)
        np.testing.assert_allclose(
            found.logits[row, :n],
            torch.stack(logits, dim=1)[row, :n].numpy(),
            atol=1e-4,
        )
    assert n_steps == found.n_tokens.max()


class Scripted:
    """A network that says what it is told to."""

    max_positions = 32

    def __init__(self, *rows: list[int]) -> None:
        self._rows = rows

    def start(self, input_features: np.ndarray) -> np.ndarray:
        return np.zeros((len(input_features), 1, 1), np.float32)

    def step(self, ids: np.ndarray) -> np.ndarray:
        logits = np.zeros((len(ids), 1107), np.float32)
        for row, tokens in enumerate(self._rows):
            logits[row, tokens[min(ids.shape[1] - 4, len(tokens) - 1)]] = 2
            logits[row, 50] = 1
        return logits


def test_every_row_ends_for_itself(preprocessor: WhisperPreprocessor) -> None:
    end = preprocessor.end_id

    found = transcribe(Scripted([7, end], [8, 9, 10, end]), np.zeros((2, 80, 600)), preprocessor)

    assert found.ids.tolist() == [[7, end, end, end], [8, 9, 10, end]]
    assert found.n_tokens.tolist() == [2, 4]
    assert found.ended.all()
    assert found.tokens(0).tolist() == [7, end]


def test_a_row_that_does_not_end_is_cut(preprocessor: WhisperPreprocessor) -> None:
    found = transcribe(Scripted([7]), np.zeros((1, 80, 600)), preprocessor)
    assert found.ids.shape == (1, 28)  # 32 positions, 4 of them the prompt's
    assert not found.ended.any()

    found = transcribe(Scripted([7]), np.zeros((1, 80, 600)), preprocessor, max_new_tokens=3)
    assert found.ids.tolist() == [[7, 7, 7]]


def test_what_the_generation_config_suppresses_is_not_said(copy: Path) -> None:
    change(copy, "generation_config.json", suppress_tokens=[-1, 7], begin_suppress_tokens=[8])
    preprocessor = WhisperPreprocessor.from_folder(copy)
    end = preprocessor.end_id

    found = transcribe(
        Scripted([7, end], [8, 8, end]), np.zeros((2, 80, 600)), preprocessor, max_new_tokens=3
    )

    assert found.ids.tolist() == [[50, end, end], [50, 8, end]]


@pytest.mark.parametrize(
    ("text", "normalized"),
    [
        ("Kathy got sixty cheap shoes.", "kathy got 60 cheap shoes"),
        ("Mr. Smith won't come, will he?", "mister smith will not come will he"),
        ("It's a well-known fact.", "it is a well known fact"),
        ("Um, twenty-one pounds and five", "£21 and 5"),
        ("The café [laughs] (softly)", "the cafe"),
        # Known to spoil: a word that is also a filler or an abbreviation, and a possessive.
        ("the first of mm", "the 1st of"),
        ("St. Peter's dog's tail", "saint peter is dog is tail"),
        ("one of them", "one of them"),
        ("", ""),
    ],
)
def test_text_is_normalised_as_whisper_s_paper_has_it(
    preprocessor: WhisperPreprocessor, text: str, normalized: str
) -> None:
    assert preprocessor.normalize_text(text) == normalized


def test_spellings_come_from_the_folder(copy: Path) -> None:
    (copy / "normalizer.json").write_text(json.dumps({"colour": "color"}))

    assert WhisperPreprocessor.from_folder(copy).normalize_text("Colour!") == "color"


def test_other_languages_lose_marks_and_case_only(folder: Path) -> None:
    german = WhisperPreprocessor.from_folder(folder, language="de")

    assert german.normalize_text("Sechzig SCHUHE, mm!") == "sechzig schuhe mm"
    assert german.prompt_ids[1] != WhisperPreprocessor.from_folder(folder).prompt_ids[1]


def test_a_model_of_english_alone_is_asked_for_no_language(copy: Path) -> None:
    change(copy, "generation_config.json", is_multilingual=False)

    preprocessor = WhisperPreprocessor.from_folder(copy)

    assert preprocessor.prompt_ids == (1000, 1106)  # start, no timestamps


@pytest.mark.parametrize(
    ("name", "values", "message"),
    [
        ("config.json", {"model_type": "wav2vec2", "architectures": None}, "a Whisper is needed"),
        ("preprocessor_config.json", {"hop_length": 80}, "has hop_length 80; Whisper's is 160"),
        ("preprocessor_config.json", {"chunk_length": 5}, "makes features of 80 × 500"),
        ("tokenizer.json", {"model": 3}, "has no tokenizer that loads"),
    ],
)
def test_a_folder_that_does_not_fit_is_told(
    copy: Path, name: str, values: dict, message: str
) -> None:
    change(copy, name, **values)

    with pytest.raises(InputError, match=message):
        _ = WhisperPreprocessor.from_folder(copy).prompt_ids


def test_no_folder_is_told(tmp_path: Path) -> None:
    with pytest.raises(MissingPathError, match="nowhere is not a folder"):
        WhisperPreprocessor.from_folder(tmp_path / "nowhere")


def test_decodes_without_torch(folder: Path) -> None:
    code = f"""
import sys
import numpy as np
from models.whisper import WhisperPreprocessor
from models.whisper_decoding import open_network, transcribe
assert "transformers" not in sys.modules
p = WhisperPreprocessor.from_folder({str(folder)!r})
features = p.input_features([np.ones(8000, np.float32)])
transcribe(open_network({str(folder)!r}, p), features, p, max_new_tokens=2)
print({{"torch", "tensorflow"}} & set(sys.modules))
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)

    assert done.stdout.strip() == "set()"
