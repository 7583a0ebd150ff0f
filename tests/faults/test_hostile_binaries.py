"""Spoilt binary files, in a process of their own: it neither dies nor prints a traceback."""

import os
import subprocess
import sys
from pathlib import Path

from hearing_analysis.config import ROOT

PROGRAM = Path(__file__).with_name("binaries.py")
NAMES = ("Arrow shard", "analysis table", "weights", "ONNX file", "mini-sse's config.json")


def test_no_spoilt_binary_file_ends_the_process() -> None:
    finished = subprocess.run(
        [sys.executable, str(PROGRAM)],
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        check=False,
    )

    assert finished.returncode == 0, finished.stderr[-5000:]
    for name in NAMES:
        assert f"{name} …" in finished.stderr
