"""A corpus for training."""

from pathlib import Path

import numpy as np
import pytest
from tones import LETTERS, write_split

from pipeline.corpus import write_dataset_dict


@pytest.fixture(scope="session")
def tone_corpus(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """24 clips to train with and 6 to validate."""
    root = tmp_path_factory.mktemp("tones") / "corpus"
    rng = np.random.default_rng(0)
    for split, n_clips in (("train", 24), ("validation", 6)):
        write_split(
            root / "dataset" / split, ["".join(rng.choice([*LETTERS], 3)) for _ in range(n_clips)]
        )
    write_dataset_dict(root / "dataset", ("train", "validation"))
    return root
