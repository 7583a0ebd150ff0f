"""The table of other tools' commands is complete, and what stands on its right side exists."""

import re

import pytest
from help_texts import help_texts
from test_docs import COMMANDS, MODULES, prose

from pipeline.mining.keys import DATA_KEYS

DOCUMENT = "docs/coming-from.md"
# Every command of the five instructions, with every option that they name.
THEIRS = {
    "download_commonvoice.py": ("--token", "--streaming", "--splits", "--output-dir", "--version"),
    "mask_audio.py": (
        *("--input-dir", "--output-base", "--sample-rate"),
        *("--batch-size", "--num-workers", "--log-level"),
    ),
    "DataSet2LogMel.py": (
        *("--input_dataset", "--output_dataset", "--model_size", "--num_cpus", "--batch_size"),
        *("--writer_batch_size", "--max_memory_per_worker", "--language", "--task"),
        *("--shuffle_seed", "--max_samples"),
    ),
    "DataSet2LogMelBatch.py": (
        *("--cpus-per-task", "--memory", "--time", "--model-size", "--batch-size"),
        *("--max-samples", "--skip-existing"),
    ),
    "scripts/mask_audio.sbatch": ("BATCH_SIZE", "NUM_WORKERS"),
    "scripts/DataSet2LogMel.sbatch": (),
    "leap auth login": (),
    "leap projects push": (),
    "leap code push": (),
    "poetry run test": (),
    "dump_mfcc_feature.py": (),
    "dump_hubert_feature.py": ("--max_chunk",),
    "learn_kmeans.py": (
        *("--percent", "--seed", "--init", "--max_iter", "--batch_size", "--tol"),
        *("--max_no_improvement", "--n_init", "--reassignment_ratio"),
    ),
    "dump_km_label.py": (),
    "make_segments.py": (),
    "extract_features.py": ("--path_wavs", "--path_vads", "--output_dir"),
    "launch_init.sh": (),
    "iteration.sh": (),
    "transcribe_timestamps.py": (),
    "launch_gold.sh": (),
    "map_dump.py": (
        *("--task=map", "--task=dump", "--path_wavs", "--path_segments", "--path_sse"),
        "--output_file",
    ),
    "global_mining_pipeline": (),
}
STOPES_KEYS = (
    *("_target_", "encoder_model", "_name", "spm_model", "spm_vocab", "mini_batch_size"),
    *("fp16", "gpu", "num_processes"),
)


def rows() -> list[tuple[str, str]]:
    """Left and right cell of every row."""
    found = re.findall(r"^\| (.+?) \| (.+?) \| .*\|$", prose(DOCUMENT), flags=re.M)
    return [(left, right) for left, right in found if left not in ("there", "---")]


def named_commands() -> dict[str, set[str]]:
    """Command of ours -> options that the right side names with it."""
    found: dict[str, set[str]] = {}
    for _, right in rows():
        for span in re.findall(r"`([^`]+)`", right):
            words = span.split()
            command = next((c for n in (3, 2) if (c := " ".join(words[:n])) in COMMANDS), "")
            assert command or words[0] not in MODULES, f"there is no command {span!r}"
            if command:
                options = {word for word in words if word.startswith("--")}
                found.setdefault(command, set()).update(options)
    return found


def test_every_command_and_option_of_the_others_is_listed() -> None:
    left = " ".join(left for left, _ in rows())
    missing = [command for command in THEIRS if command not in left]
    for command, options in THEIRS.items():
        of_command = " ".join(cell for cell, _ in rows() if command in cell)
        named = set(re.findall(r"[\w=-]+", of_command))
        missing += [f"{command} {option}" for option in options if option not in named]
    missing += [key for key in (*STOPES_KEYS, *DATA_KEYS[:9]) if f"`{key}`" not in left]

    assert missing == []


@pytest.mark.parametrize("command", sorted(named_commands()))
def test_the_help_of_a_command_names_every_option_of_its_rows(command: str) -> None:
    named = set(re.findall(r"--[a-z][\w-]*", help_texts().texts[command]))

    assert named_commands()[command] <= named
