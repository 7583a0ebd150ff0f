"""The whole demo against the pilot's way: from a release of MP3s to a table of errors per profile.

Ours are the command lines of conf/demo.yaml, the start of every one included. The pilot's way is
one script with the libraries it used: librosa reads and masks, WhisperFeatureExtractor makes
log-mels inside ``Dataset.map``, datasets hold lists, torch recognises clip by clip, jiwer, librosa
and textstat describe each sample, scikit-learn draws the map. It makes no page to look at. CPU
seconds and bytes on disk; the clips are those of the shipped corpus.
"""

from masking import pilot  # isort: skip - sets the number of threads before numpy is imported

import argparse
import os
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import yaml
from scale import MODULES, RELEASE, ROOT, disk_bytes, rows_of, write_release

from pipeline.masking.profiles import PILOT_PROFILES

RECIPE = ROOT / "conf/demo.yaml"
MODEL = ROOT / "models/mini-wav2vec2"
WINDOW = 96_000  # samples; what the demo's recogniser takes
TABLES = {"train": "train", "validation": "dev", "test": "test"}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--clips", type=int, default=420)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--peer", type=Path, help="Only the pilot's way, in this folder.")
    arguments = parser.parse_args()
    if arguments.peer:
        peer(arguments.peer)
        return
    with tempfile.TemporaryDirectory() as folder:
        write_release(Path(folder) / "release" / "en", arguments.clips)
        once = [(ours(Path(folder)), the_pilots(Path(folder))) for _ in range(arguments.repeats)]
    seconds, sizes = np.moveaxis(np.array(once), -1, 0)
    low, median, high = np.quantile(seconds[:, 1] / seconds[:, 0], [0, 0.5, 1])
    mine, theirs = np.median(seconds, axis=0)
    print(
        f"demo of {arguments.clips} clips: {mine:.0f} s of CPU against {theirs:.0f} s, "
        f"{median:.1f} times less ({low:.1f} to {high:.1f} over {arguments.repeats} repeats); "
        f"on disk {sizes[0, 0] / 1e6:.0f} MB against {sizes[0, 1] / 1e6:.0f} MB, "
        f"{sizes[0, 1] / sizes[0, 0]:.1f} times less"
    )


def ours(folder: Path) -> tuple[float, int]:
    """CPU seconds and bytes of the demo's commands."""
    with tempfile.TemporaryDirectory(dir=folder) as work:
        seconds = 0.0
        for step in yaml.safe_load(RECIPE.read_text())["steps"]:
            line = step.replace("data/demo", f"{work}/demo").replace(
                str(RELEASE.parent.relative_to(ROOT)), f"{folder}/release"
            )
            program, *words = line.split()
            if words[0] == "run":
                words += ["--data-root", f"{work}/demo"]
            seconds += cpu_seconds(["-m", MODULES[program], *words])
        return seconds, disk_bytes(Path(work))


def the_pilots(folder: Path) -> tuple[float, int]:
    """CPU seconds and bytes of the pilot's way."""
    with tempfile.TemporaryDirectory(dir=folder) as work:
        (Path(work) / "release").symlink_to(folder / "release")
        seconds = cpu_seconds([__file__, "--peer", work])
        return seconds, disk_bytes(Path(work))


def cpu_seconds(arguments: list[str]) -> float:
    """CPU seconds of a Python process and all its children."""
    before = os.times()
    run = subprocess.run(
        [sys.executable, *arguments], cwd=ROOT, capture_output=True, text=True, check=False
    )
    if run.returncode:
        raise SystemExit(f"{' '.join(arguments)} ended with {run.returncode}: {run.stderr[-500:]}")
    after = os.times()
    spent = after.children_user + after.children_system
    return spent - before.children_user - before.children_system


def peer(work: Path) -> None:
    """Import, mask, log-mels, recognition and description, each through a dataset on disk."""
    import datasets
    import librosa
    import pandas as pd
    import transformers

    datasets.disable_progress_bars()
    datasets.disable_caching()
    variants: dict[str, list[dict[str, Any]]] = {name: [] for name in PILOT_PROFILES}
    release = work / "release" / "en"
    for split, table in TABLES.items():
        for path, sentence in rows_of(release / f"{table}.tsv", "path", "sentence"):
            clip, _ = librosa.load(release / "clips" / path, sr=16_000)
            for name, variant in zip(PILOT_PROFILES, pilot(clip), strict=True):
                audio = {"array": variant.astype(np.float64).tolist(), "sampling_rate": 16_000}
                row = {"id": path, "split": split, "sentence": sentence, "audio": audio}
                variants[name].append(row)
    for name, rows in variants.items():
        datasets.Dataset.from_list(rows).save_to_disk(str(work / name))
    extractor = transformers.WhisperFeatureExtractor()
    recognise, rows = recogniser(), []
    for name in PILOT_PROFILES:
        dataset = datasets.load_from_disk(str(work / name))
        features = dataset.map(
            lambda row: {
                "input_features": extractor(
                    row["audio"]["array"], sampling_rate=16_000
                ).input_features[0],
                "labels": row["sentence"],
            },
            remove_columns=dataset.column_names,
            writer_batch_size=100,
        )
        features.save_to_disk(str(work / f"{name}_logmel"))
        rows += [{"profile": name, **describe(row, recognise)} for row in dataset]
    table = pd.DataFrame(rows)
    places = the_map(np.stack(list(table.pop("embedding"))))
    table.assign(x=places[:, 0], y=places[:, 1]).to_parquet(work / "analysis.parquet")


def recogniser() -> Any:
    """Transcript and mean hidden state of a clip, with torch."""
    import torch
    import transformers

    transformers.logging.set_verbosity_error()
    torch.set_num_threads(1)
    network = transformers.Wav2Vec2ForCTC.from_pretrained(MODEL).eval()
    processor = transformers.Wav2Vec2Processor.from_pretrained(MODEL)

    def recognise(waveform: np.ndarray) -> tuple[str, np.ndarray]:
        padded = np.pad(waveform[:WINDOW], (0, max(WINDOW - len(waveform), 0)))
        inputs = processor(padded, sampling_rate=16_000, return_tensors="pt").input_values
        with torch.no_grad():
            found = network(inputs, output_hidden_states=True)
        (text,) = processor.batch_decode(found.logits.argmax(-1))
        return text, found.hidden_states[-1][0].mean(0).numpy()

    return recognise


def describe(row: dict[str, Any], recognise: Any) -> dict[str, Any]:
    """A sample's transcript, rates and metadata."""
    import jiwer
    from encoders import older_metadata

    waveform = np.array(row["audio"]["array"], dtype=np.float32)
    hypothesis, embedding = recognise(waveform)
    reference = row["sentence"].upper()
    rates = (jiwer.wer, jiwer.cer, jiwer.mer, jiwer.wil, jiwer.wip)
    return {
        "id": row["id"],
        "hypothesis": hypothesis,
        "embedding": embedding,
        **{rate.__name__: rate(reference, hypothesis) for rate in rates},
        **older_metadata(waveform, row["sentence"]),
    }


def the_map(embeddings: np.ndarray) -> np.ndarray:
    """Place samples on a map."""
    from sklearn.manifold import TSNE

    return np.asarray(TSNE(init="pca", random_state=0).fit_transform(embeddings))


if __name__ == "__main__":
    main()
