"""``pipeline mine`` as it is used: from shards to pairs, stopped and gone on with, and refused."""

import csv
import gzip
import io
import json
from pathlib import Path

import numpy as np
import pytest
import soundfile
from makers import noise, tone

from pipeline.corpus import open_corpus
from pipeline.mining.encoders import make_encoder
from pipeline.mining.pairs import read_alignment
from pipeline.mining.preset import EncoderChoice, read_preset

ROOT = Path(__file__).parents[3]
N_NUMBERS = 300
STORED = "pipeline.mining.StoredEmbeddings"


def bits(numbers: np.ndarray) -> np.ndarray:
    """The toy encoder of stopes' own test: a number is the bits of its successor."""
    return ((np.asarray(numbers)[:, None] + 1) >> np.arange(10)[::-1] & 1).astype(np.float32)


@pytest.fixture
def numbers(tmp_path):
    """Numbers in two languages: three shards against one, with meta lines, and a preset."""
    rng = np.random.default_rng(0)
    for lang, shards in (("fr", 3), ("en", 1)):
        order = rng.permutation(N_NUMBERS)
        (tmp_path / f"{lang}.rows").mkdir()
        for index, part in enumerate(np.array_split(order, shards)):
            for kind, form in (("txt", "{0} {1}"), ("meta", "{0}:{1}")):
                lines = "".join(form.format(lang, number) + "\n" for number in part)
                path = tmp_path / f"n.{lang}.{index}.{kind}.gz"
                path.write_bytes(gzip.compress(lines.encode()))
            np.save(tmp_path / f"{lang}.rows" / f"{index}.npy", bits(part))
    side = (
        "{{data: {{shard_glob: '{0}/n.{1}.*.txt.gz', meta_glob: '{0}/n.{1}.*.meta.gz'}}, "
        "embed_text: {{encoder: {{_target_: {2}, encoder_model: {0}/{1}.rows}}}}}}"
    )
    path = tmp_path / "preset.yaml"
    path.write_text(
        f"output_dir: {tmp_path}/out\nmine_threshold: 1.04\nlang_configs:\n"
        + "".join(f"  {name}: {side.format(tmp_path, name, STORED)}\n" for name in ("fr", "en"))
    )
    return path


def table(path: Path) -> list[list[str]]:
    text = gzip.decompress(path.read_bytes()).decode()
    return list(csv.reader(io.StringIO(text), "excel-tab"))


def contents(folder: Path) -> dict[str, bytes]:
    return {
        path.relative_to(folder).as_posix(): path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.is_file() and path.name != ".lock"
    }


def test_numbers_find_themselves_in_the_other_language(command, numbers):
    outcome = command("mine", "--config", numbers, "--json")

    assert outcome.status == 0, outcome.err
    assert outcome.report["mine"]["pairs"] == N_NUMBERS
    assert outcome.report["search"]["index_type"] == "Flat"
    folder = numbers.parent / "out" / "mine.V1"
    pairs, meta = table(folder / "bitexts.tsv.gz"), table(folder / "bimeta.tsv.gz")
    assert len(pairs) == len(meta) == N_NUMBERS
    for (score, french, english), (same, first, second, direction) in zip(pairs, meta, strict=True):
        assert french.replace("fr", "en") == english
        assert (first, second) == (french.replace(" ", ":"), english.replace(" ", ":"))
        assert (same, direction) == (score, "both")
        assert float(score) >= 1.04
    scores = [float(row[0]) for row in pairs]
    assert scores == sorted(scores, reverse=True)
    counts = (numbers.parent / "out" / "embed.V1" / "fr" / "fr.nl").read_text()
    assert counts == "100\n100\n100\n"


def test_alignments_are_judged_against_gold(command, numbers):
    command("mine", "run", "-c", numbers)
    found = read_alignment(numbers.parent / "out" / "mine.V1" / "fr-en.align.npz")
    gold = numbers.parent / "gold.tsv"
    rows = list(zip(found.source.tolist(), found.target.tolist(), strict=True))
    wrong = [(rows[0][0], rows[1][1]), *rows[1:]]
    gold.write_text("".join(f"{i}\t{j}\n" for i, j in wrong))

    alignment = numbers.parent / "out" / "mine.V1" / "fr-en.align.npz"
    outcome = command("mine", "evaluate", alignment, gold, "--json", workers=None)
    assert outcome.report["all"]["right"] == N_NUMBERS - 1
    assert outcome.report["all"]["precision"] == pytest.approx(1 - 1 / N_NUMBERS, abs=1e-4)


def test_bytes_do_not_depend_on_how_it_was_run(command, numbers):
    command("mine", "--config", numbers)
    out = numbers.parent / "out"
    whole = contents(out)
    assert command("mine", "--config", numbers).status == 0
    assert contents(out) == whole

    for name in (
        "embed.V1/fr/encf.001.fr",
        "mine.V1/neighbours.json",
        "mine.V1/bitexts.tsv.gz",
    ):
        (out / name).unlink()
    assert command("mine", "--config", numbers).status == 0
    assert contents(out) == whole
    (out / "mine.V1" / "fr-en.y2x.idx.npy").unlink()
    assert command("mine", "--config", numbers).status == 0
    assert contents(out) == whole

    shared = f"output_dir={numbers.parent}/shared"
    for step, tasks in (("embed", 2), ("distances", 2)):
        for task in range(tasks):
            arguments = ("--config", numbers, shared, "--step", step, "--shard", f"{task}/{tasks}")
            assert command("mine", *arguments).status == 0
    assert command("mine", "--config", numbers, shared, "--step", "mine").status == 0
    assert contents(numbers.parent / "shared") == whole


@pytest.mark.parametrize("kind", ["IVF4,Flat", "PCA8,IVF4,SQ8", "HNSW8"])
def test_every_step_of_an_index_can_be_shared_out_and_gone_on_with(command, numbers, kind):
    settings = (f"index_type={kind}", "calculate_distances.num_probe=4")
    report = command("mine", "--config", numbers, *settings, "--json").report
    assert report["search"]["index_type"] == kind
    assert report["mine"]["pairs"] > 0.8 * N_NUMBERS
    whole = contents(numbers.parent / "out")

    shared = numbers.parent / "shared"
    run = ("mine", "--config", numbers, *settings, f"output_dir={shared}")
    for step in ("embed", "train", "populate", "merge", "distances"):
        for task in (1, 0):
            outcome = command(*run, "--step", step, "--shard", f"{task}/2")
            assert outcome.status == 0, outcome.err
        made = sorted((shared / "index.V1").glob("*.faiss"))
        if step == "populate":  # a file of it is lost, and made again by the next run
            n_parts = 4 if "IVF" in kind else 2  # three shards and one, or both sides
            assert len([path for path in made if ".populated." in path.name]) == n_parts
            next(path for path in made if "fr" in path.name and ".populated." in path.name).unlink()
            lost = command(*run, "--step", "merge")
            assert "populate the index first, with --step populate" in lost.complaint
            command(*run, "--step", "populate")
    assert command(*run, "--step", "mine").status == 0
    assert contents(shared) == whole
    assert not list((shared / "index.V1").glob("*.populated.*"))

    command(*run, "calculate_distances.knn=8")  # another search of the same indexes
    assert {path.name: path.stat().st_mtime_ns for path in (shared / "index.V1").iterdir()} == {
        path.name: path.stat().st_mtime_ns
        for path in made
        if "populated" not in path.name and "trained" not in path.name
    }


@pytest.mark.parametrize(
    ("step", "says"),
    [
        ("populate", "train the index first, with --step train"),
        ("merge", "populate the index first, with --step populate"),
        ("distances", "do that first, with --step merge"),
    ],
)
def test_a_step_says_which_comes_before_it(command, numbers, step, says):
    run = ("mine", "--config", numbers, "index_type=IVF4,Flat")
    command(*run, "--step", "embed")

    assert says in command(*run, "--step", step).complaint


def test_another_threshold_needs_no_new_search(command, numbers):
    command("mine", "--config", numbers)
    record = numbers.parent / "out" / "mine.V1" / "neighbours.json"
    before = record.stat().st_mtime_ns
    outcome = command("mine", "--config", numbers, "mine_threshold=1.2", "--json")

    assert 0 < outcome.report["mine"]["pairs"] < N_NUMBERS
    assert record.stat().st_mtime_ns == before


def test_an_index_is_measured_against_exact_search(command, numbers, caplog):
    outcome = command("mine", "--config", numbers, "index_type=IVF4,Flat", "--json")

    search = outcome.report["search"]
    assert search["index_type"] == "IVF4,Flat"
    assert search["recall_forward"] > 0.95
    assert outcome.report["mine"]["pairs"] == N_NUMBERS
    poor = ("index_type=IVF16,Flat", "calculate_distances.num_probe=1")
    outcome = command("mine", "--config", numbers, *poor, "--json")
    assert outcome.report["search"]["recall_forward"] < 0.9
    assert "less than the 95.0 % wanted" in caplog.text


def test_k_is_cut_to_what_there_is(command, numbers, caplog):
    outcome = command("mine", "--config", numbers, "calculate_distances.knn=1000", "--json")

    assert outcome.status == 0
    assert "fr has 300 rows; k is 300 for it" in caplog.text
    assert outcome.report["mine"]["pairs"] > 0


def test_an_empty_shard_has_no_rows(command, numbers, caplog):
    folder = numbers.parent
    (folder / "n.fr.3.txt.gz").write_bytes(gzip.compress(b""))
    (folder / "n.fr.3.meta.gz").write_bytes(gzip.compress(b""))
    np.save(folder / "fr.rows" / "3.npy", np.empty((0, 10), np.float32))
    outcome = command("mine", "--config", numbers, "--json")

    assert outcome.status == 0, outcome.err
    assert "n.fr.3.txt.gz is empty; it has no rows" in caplog.text
    assert outcome.report["mine"]["pairs"] == N_NUMBERS


def test_lines_that_are_equal_are_paired_once(command, numbers):
    folder = numbers.parent
    for index in range(3):
        lines = gzip.compress(b"same\n" * 100)
        (folder / f"n.fr.{index}.txt.gz").write_bytes(lines)
    outcome = command("mine", "--config", numbers, "--json")
    assert outcome.report["mine"]["written"] == N_NUMBERS  # the other side still differs

    kept = command("mine", "--config", numbers, "mine_sentences.dedup_bitexts=false", "--json")
    assert kept.report["mine"]["written"] == N_NUMBERS


@pytest.mark.parametrize(
    ("spoil", "overrides", "says"),
    [
        (None, ["index_type=IVF512,Flat"], "IVF512,Flat has 512 cells and there are 300 rows"),
        (None, ["index_type=Wunder"], "faiss makes no index 'Wunder'"),
        (None, ["--step", "distances"], "embed all shards of fr first, with --step embed"),
        (
            None,
            ["--step", "wander"],
            "--step 'wander' is not one of: embed, train, populate, merge, distances",
        ),
        (None, ["--shard", "0/2"], "--shard shares out one step"),
        (None, ["lang_configs.fr.data.meta_glob=nowhere*"], "0 files are named like nowhere*"),
        (None, ["lang_configs.fr.embed_text.encoder._target_=os.system"], "'os.system' is no reg"),
        ("nan", [], "hold NaN or infinity; embed the shard again"),
        ("short", [], "holds 99 rows and its shard 100 lines"),
        ("pickle", [], "is truncated or no array file"),
        ("wide", [], "fr has 10 dimensions and en 12; embed both sides with encoders of one space"),
    ],
)
def test_what_cannot_be_mined_is_refused_in_one_sentence(command, numbers, spoil, overrides, says):
    rows = numbers.parent / "fr.rows" / "0.npy"
    values = np.load(rows)
    if spoil == "nan":
        values[7, 3] = np.nan
        np.save(rows, values)
    elif spoil == "short":
        np.save(rows, values[:99])
    elif spoil == "pickle":
        np.save(rows, np.array([{}] * 100, dtype=object), allow_pickle=True)
    elif spoil == "wide":
        english = numbers.parent / "en.rows" / "0.npy"
        np.save(english, np.pad(np.load(english), ((0, 0), (0, 2))))
    outcome = command("mine", "--config", numbers, *overrides)

    assert outcome.status == 2
    assert says in outcome.complaint
    assert not (numbers.parent / "out" / "mine.V1" / "bitexts.tsv.gz").exists()


def test_rows_of_another_encoder_are_not_mixed_in(command, numbers):
    command("mine", "--config", numbers)
    rows = numbers.parent / "fr.rows" / "0.npy"
    np.save(rows, np.load(rows)[::-1])

    assert "holds rows of another encoder" in command("mine", "--config", numbers).complaint
    assert command("mine", "--config", numbers, "--overwrite").status == 0


def test_a_dry_run_writes_nothing(command, numbers):
    outcome = command("mine", "--config", numbers, "--dry-run")

    assert "fr: 300 lines in 3 shards" in outcome.out
    assert not (numbers.parent / "out").exists()


def test_speech_is_mined_against_speech(command, tmp_path):
    """Clips against their own louder copies, at mixed rates, with lines that name nothing."""
    model = ROOT / "models" / "mini-wav2vec2"
    if not (model / "model.safetensors").is_file():
        pytest.skip("the small model is not here")
    lines = {"a": [], "b": []}
    for index in range(6):
        clip = tone(200 + 90 * index, 0.6) + 0.2 * noise(0.6, seed=index)
        for name, gain, rate in (("a", 0.3, 16_000), ("b", 0.6, 16_000 if index % 2 else 48_000)):
            path = tmp_path / f"{name}{index}.wav"
            samples = gain * np.repeat(clip, rate // 16_000)
            soundfile.write(path, samples.astype(np.float32), rate, "FLOAT")
            lines[name].append(f"{path} 0 8000 {index % 2}\n")
    lines["a"] += [
        f"{tmp_path}/a0.wav 0 80000 0\n",
        "no such line 1\n",
        f"{tmp_path}/x.wav 0 9 0\n",
    ]
    for name, content in lines.items():
        (tmp_path / f"{name}.txt").write_text("".join(content))
    encoder = f"{{_target_: pipeline.mining.PooledSpeechEncoder, encoder_model: {model}}}"
    preset = tmp_path / "preset.yaml"
    preset.write_text(
        f"output_dir: {tmp_path}/out\nlang_configs:\n"
        + "".join(
            f"  {name}: {{data: {{shard_glob: '{tmp_path}/{name}.txt'}}, "
            f"embed_speech: {{encoder: {encoder}}}}}\n"
            for name in ("a", "b")
        )
    )
    pairs = tmp_path / "pairs"
    small = ("mine_threshold=0", "calculate_distances.knn=3")
    outcome = command("mine", "--config", preset, *small, "--pairs", pairs, "--json")

    assert outcome.status == 0, outcome.err
    assert outcome.report["embed"][0] == {
        "side": "a", "shards": 1, "lines": 9, "quarantined": 3, "n_dims": 96,
    }  # fmt: skip
    quarantine = tmp_path / "out" / "embed.V1" / "a" / "encf.000.a.quarantine.jsonl"
    reasons = [json.loads(line) for line in quarantine.read_text().splitlines()]
    assert [entry["line"] for entry in reasons] == [7, 8, 9]
    assert "ends at 5.000 s" in reasons[0]["reason"]
    assert "is not `audio_file start end batch_no`" in reasons[1]["reason"]
    assert "file is missing" in reasons[2]["reason"]
    found = read_alignment(tmp_path / "out" / "mine.V1" / "a-b.align.npz")
    assert set(found.source.tolist()) == set(range(6))
    split = open_corpus(pairs)["train"]
    assert len(split) == len(found)
    row = split.row(0)
    assert row["source"] == lines["a"][row["source_line"]].rstrip()
    audio = split.table.column("target_audio")[0].as_py()
    samples, rate = soundfile.read(io.BytesIO(audio["bytes"]))
    assert (len(samples), rate) == (8000, 16_000)


def test_pooled_speech_is_the_mean_of_the_frames():
    model = ROOT / "models" / "mini-wav2vec2"
    if not (model / "model.safetensors").is_file():
        pytest.skip("the small model is not here")
    target = "pipeline.mining.PooledSpeechEncoder"
    encoder = make_encoder(EncoderChoice(target, str(model), settings={"layer": 2}))
    clips = [noise(0.5), noise(1.0, seed=1)]

    rows = encoder.encode_speech(clips)
    alone = encoder.encode_speech(clips[1:])
    assert rows.shape == (2, 96)
    np.testing.assert_array_equal(rows[1:], alone)
    from pipeline.kmeans.encoders import WaveformEncoder

    frames = WaveformEncoder(model, 2).features(clips[0])
    np.testing.assert_allclose(rows[0], frames.mean(0), atol=1e-5)


def test_the_first_side_is_the_source_unless_told(numbers):
    plan = read_preset(numbers)
    turned = read_preset(numbers, ["src_lang=en", "tgt_lang=fr"])

    assert (plan.source, plan.target) == (turned.target, turned.source)
