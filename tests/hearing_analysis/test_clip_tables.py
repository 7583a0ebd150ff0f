import numpy as np
import pyarrow as pa
import pyarrow.parquet
import pytest
from fixtures import make_corpora

from hearing_analysis.clip_tables import open_clip_tables
from hearing_analysis.config import AnalysisConfig
from hearing_analysis.metadata import column_types, sample_metadata
from hearing_analysis.samples import open_samples
from pipeline.errors import InputError, MissingPathError


@pytest.fixture
def units(tmp_path):
    path = tmp_path / "tables" / "units.parquet"
    path.parent.mkdir()
    table = pa.table(
        {
            "id": ["train-0", "train-0", "train-1"],
            "profile_name": ["normal", "hfloss", "normal"],
            "unit_error_rate": [0.1, 0.9, None],
            "n_units": [7, 8, 9],
            "note": ["a", "b", "c"],
            "histogram": [[1.0, 2.0], [3.0, 4.0], None],
        }
    )
    pyarrow.parquet.write_table(table, path)
    return path


@pytest.fixture
def margins(tmp_path):
    path = tmp_path / "margins.csv"
    path.write_text("id,margin\n0012,1.5\ntrain-0,2.5\n")
    return path


def test_numbers_are_joined_by_clip_and_profile(units):
    tables = open_clip_tables((units,))
    assert tables.names == ("unit_error_rate", "n_units")
    assert tables.figures("train-0", "hfloss") == {"unit_error_rate": 0.9, "n_units": 8.0}


def test_what_a_table_does_not_say_is_missing_and_not_zero(units):
    tables = open_clip_tables((units,))
    assert tables.figures("train-0", "lfloss") == {"unit_error_rate": None, "n_units": None}
    assert tables.figures("train-1", "normal")["unit_error_rate"] is None


def test_a_table_without_profiles_holds_for_all_of_them(margins):
    tables = open_clip_tables((margins,))
    assert [tables.figures("train-0", p)["margin"] for p in ("normal", "hfloss")] == [2.5, 2.5]


def test_an_id_that_looks_like_a_number_stays_as_it_is(margins):
    assert open_clip_tables((margins,)).figures("0012", "normal") == {"margin": 1.5}
    assert open_clip_tables((margins,)).figures("12", "normal") == {"margin": None}


def test_a_folder_stands_for_its_tables(units):
    assert open_clip_tables((units.parent,)).names == ("unit_error_rate", "n_units")


def test_vectors_become_latent_coordinates(units):
    tables = open_clip_tables((units,))
    assert tables.vector_names == ("histogram",)
    np.testing.assert_array_equal(tables.vector("histogram", "train-0", "hfloss"), [3, 4])
    assert np.isnan(tables.vector("histogram", "train-1", "normal")).all()
    assert np.isnan(tables.vector("histogram", "nobody", "normal")).all()


def test_figures_reach_the_metadata_of_a_sample(tmp_path, units):
    make_corpora(tmp_path / "tiny")
    config = AnalysisConfig(data_root=str(tmp_path / "tiny"), clip_tables=(str(units),))
    samples = open_samples(config, "train")
    metadata = sample_metadata(
        profile=samples.profile("train-0@normal"),
        waveform=samples.waveform("train-0@normal"),
        sampling_rate=16_000,
        columns=samples.columns("train-0@normal"),
        stage_figures=samples.figures("train-0@normal"),
    )
    assert metadata["stage_unit_error_rate"] == 0.1
    assert list(metadata) == list(column_types(samples.tables.names))


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("clip,margin\na,1\n", r"has no column 'id'; it has: clip, margin"),
        ("id,margin\na,1\na,2\n", r"more than one row for clip 'a'"),
    ],
)
def test_what_cannot_be_joined_is_refused(tmp_path, content, message):
    path = tmp_path / "x.csv"
    path.write_text(content)
    with pytest.raises(InputError, match=message):
        open_clip_tables((path,))


def test_two_tables_with_a_column_of_the_same_name_are_refused(tmp_path, margins):
    other = tmp_path / "other.csv"
    other.write_text("id,margin\na,1\n")
    with pytest.raises(InputError, match=r"margins\.csv and .*other\.csv both have .* 'margin'"):
        open_clip_tables((margins, other))


def test_a_table_that_is_not_there_is_named(tmp_path):
    with pytest.raises(MissingPathError, match=r"units\.parquet does not exist.*clip_tables"):
        open_clip_tables((tmp_path / "units.parquet",))


def test_a_file_that_is_no_table_is_named(tmp_path):
    path = tmp_path / "broken.parquet"
    path.write_bytes(b"PAR1 or not")
    with pytest.raises(InputError, match=r"broken\.parquet cannot be read as a table"):
        open_clip_tables((path,))
