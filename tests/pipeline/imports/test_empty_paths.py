"""Rows of a manifest that name no file are quarantined like any other malformed row."""

import numpy as np
import pytest
import soundfile


@pytest.mark.parametrize("path", ["", "./", "/"])
def test_a_row_that_names_no_file_is_quarantined(tmp_path, command, path):
    folder = tmp_path / "speech"
    folder.mkdir()
    soundfile.write(folder / "one.wav", np.full(1600, 0.1), 16_000)
    (folder / "manifest.csv").write_text(f"path,sentence\none.wav,Hi\n{path},Ho\n")
    outcome = command("import", folder, tmp_path / "out", "--json")
    assert outcome.status == 0
    assert outcome.report["splits"]["train"]["quarantined"] == 1
