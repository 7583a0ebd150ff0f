"""What code-loader does not look at: all samples alike, batches, float16, every key of a metric.

Its integration test looks at what a decorated function returns when it is called, and its
``check_dataset`` at one sample of each state.
"""

from collections import Counter
from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from hearing_analysis import encoders
from hearing_analysis.metadata.bands import FLOOR_DBFS
from hearing_analysis.recognition.recognisers import open_preprocessor
from hearing_analysis.samples import MAX_ID_LENGTH, SampleSet
from hearing_analysis.tensorleap.offline import Batch, Platform
from models.whisper import WhisperPreprocessor
from pipeline.errors import CheckFailed

BATCH_SIZE = 3
MAX_FLOAT16_DIFFERENCE = 0.02  # of corpus word error rate
# What must survive float16 to the last digit.
EXACT = (
    *("labels", "lengths", "reference_bytes", "target_digits"),
    *("token_ids_high", "token_ids_low", "position_mask"),
)
LOSS_NAMES = ("ctc_loss", "cross_entropy", "loss negative_log_probability")
MILD = {"family": "flat", "degree_db": 30.0, "slope_db_per_octave": 10.0, "side": "high"}
SEVERE = MILD | {"degree_db": 90.0}
SEEDS_TRIED = 8


def check_sample_ids(platform: Platform) -> str:
    """Ids are unique over all states and short enough, and a clip stays in one state."""
    sample_ids = [i for samples in platform.samples.values() for i in samples.ids]
    repeated = [i for i, count in Counter(sample_ids).items() if count > 1]
    if repeated:
        raise CheckFailed(f"sample {repeated[0]!r} is in more than one state, or there twice")
    longest = max(sample_ids, key=len)
    if len(longest) > MAX_ID_LENGTH:
        raise CheckFailed(f"sample id {longest!r} is longer than {MAX_ID_LENGTH} characters")
    return f"{len(sample_ids)} unique ids, none longer than {len(longest)} characters"


def check_references(platform: Platform) -> str:
    """Every sentence of every split fits into what the platform keeps of it."""
    config, preprocessor = platform.config, open_preprocessor(platform.config)
    sentences = {s for samples in platform.samples.values() for s in _sentences(samples)}
    longest = 0
    for sentence in sentences:
        encoders.reference_bytes(sentence, preprocessor, config.max_label_length)
        if isinstance(preprocessor, WhisperPreprocessor):
            n_labels = len(preprocessor.label_ids(sentence))
            if config.mode == "seq2seq":
                positions = config.positions or preprocessor.max_positions
                encoders.targets(sentence, preprocessor, positions)
        else:
            encoders.labels(sentence, preprocessor, config.max_label_length)
            n_labels = len(preprocessor.label_ids(sentence))
        longest = max(longest, n_labels)
    return f"{len(sentences)} sentences, the longest has {longest} labels"


def check_tensors(platform: Platform) -> str:
    """Every tensor is float32, finite, of one shape for all samples, and exact as float16."""
    shapes: dict[str, set[tuple[int, ...]]] = {}
    for batch in platform.batches:
        for name, tensor in batch.tensors.items():
            shapes.setdefault(name, set()).add(tensor.shape[1:])
            if tensor.dtype != np.float32 or not np.isfinite(tensor).all():
                raise CheckFailed(f"{name} is {tensor.dtype}, or holds NaN or infinity")
        for name, tensor in batch.arguments(list(EXACT)).items():
            if (tensor != tensor.astype(np.float16)).any():
                raise CheckFailed(f"{name} holds numbers that float16 cannot hold")
    uneven = [name for name, found in shapes.items() if len(found) > 1]
    if uneven:
        raise CheckFailed(f"{uneven[0]} has more than one shape: {sorted(shapes[uneven[0]])}")
    return ", ".join(f"{name} {list(*found)}" for name, found in shapes.items())


def check_predictions(platform: Platform) -> str:
    """As many labels as the model has outputs."""
    batch = platform.batches[0]
    tensors = batch.chains[0].outputs if batch.chains else batch.tensors
    for prediction in platform.setup.prediction_types:
        width = tensors[prediction.name].shape[prediction.channel_dim]
        if prediction.labels and len(prediction.labels) != width:
            raise CheckFailed(
                f"{prediction.name}: {len(prediction.labels)} labels for {width} outputs"
            )
    return ", ".join(f"{p.name} ({len(p.labels)} labels)" for p in platform.setup.prediction_types)


def check_metadata(platform: Platform) -> str:
    """Every sample has the same keys in the same order, each of its declared type or absent."""
    seen: dict[str, list[str]] = {}
    for batch in platform.batches:
        for sample_id in batch.ids:
            for handler in platform.metadata_handlers:
                values = handler.function(sample_id, platform.responses[batch.state])
                if list(values) != seen.setdefault(handler.name, list(values)):
                    raise CheckFailed(f"{sample_id} has other keys of {handler.name}")
                _check_types(handler, values, sample_id)
    return f"{sum(map(len, seen.values()))} columns of {len(seen)} handlers"


def check_metrics(platform: Platform) -> str:
    """Sample by sample the same scores, in any batch, and nearly the same ones as float16."""
    edits = np.zeros(2)
    n_words = 0.0
    for batch in platform.batches:
        columns = platform.run_metrics(batch)
        _check_alone(platform, batch, columns)
        stored = platform.run_metrics(_as_stored(platform, batch))
        for name in [name for name in LOSS_NAMES if name in columns and not batch.chains]:
            if not np.allclose(columns[name], stored[name], rtol=0.01, atol=0.1):
                raise CheckFailed(f"{name} differs by more than 1 % as float16")
        prefix = "word" if "word_edits" in columns else "forced_word"
        edits += columns[f"{prefix}_edits"].sum(), stored[f"{prefix}_edits"].sum()
        n_words += columns[f"{prefix}_reference_length"].sum()
    rate, rate_stored = edits / max(n_words, 1.0)
    if abs(rate_stored - rate) > MAX_FLOAT16_DIFFERENCE:
        raise CheckFailed(f"the word error rate is {rate:.3f}, and {rate_stored:.3f} as float16")
    return f"word error rate {rate:.3f}, as float16 {rate_stored:.3f}"


def check_directions(platform: Platform) -> str:
    """Every key of every metric says whether more is better."""
    from code_loader.contract.enums import MetricDirection

    n_keys = 0
    # The loader is fresh: a metric that has been called writes to the direction of the last one.
    for name in platform.metric_names:
        given = platform.directions(name)
        directions = given if isinstance(given, dict) else {name: given}
        keys = platform.run_metric(name, platform.batches[0])
        missing = [key for key in keys if not isinstance(directions.get(key), MetricDirection)]
        if missing:
            raise CheckFailed(f"metric {name} gives no direction for {missing[0]}")
        n_keys += len(keys)
    return f"{n_keys} keys of {len(platform.metric_names)} metrics"


def check_visualizers(platform: Platform) -> str:
    """Every visualizer draws single samples, with and without a batch axis, from float16 too."""
    names = platform.visualizer_names
    for batch in platform.batches:
        for name in names:
            for source in (batch, batch.as_stored()):
                for at in (0, slice(0, 1)):
                    _check_drawn(name, platform.run_visualizer(name, source, at))
            _check_heatmap(platform, name, batch)
    return ", ".join(names)


def check_latent_spaces(platform: Platform) -> str:
    """Every latent space that is computed from outputs has a finite row per sample."""
    widths = {}
    for name in platform.latent_space_names:
        for batch in (batch.as_stored() for batch in platform.batches):
            space = platform.run_latent_space(name, batch)
            if len(space) != len(batch.ids) or not np.isfinite(space).all():
                raise CheckFailed(f"{name} has shape {space.shape} for {len(batch.ids)} samples")
            widths[name] = space.shape[1]
    return ", ".join(f"{name} ({width})" for name, width in widths.items()) or "none in this mode"


def check_simulation(platform: Platform) -> str:
    """Simulated samples follow their seed and their degree, and need nothing but tensors."""
    if platform.writes_on_its_own:
        return "none in this mode"
    first, again = (platform.simulate(MILD, (f"{name}_a", f"{name}_b"), 1) for name in "xy")
    severe = platform.simulate(SEVERE, ("s_a", "s_b"), 1)
    for name, tensor in first.tensors.items():
        if not np.array_equal(tensor, again.tensors[name]):
            raise CheckFailed(f"hearing_loss: {name} differs between two runs of one seed")
    if not _seed_matters(platform, first):
        raise CheckFailed("hearing_loss takes no notice of its seed")
    mild_db, severe_db = (b.tensors["spectra_dbfs"][:, 1].max() for b in (first, severe))
    if mild_db > FLOOR_DBFS + 60 and not severe_db < mild_db - 30:
        raise CheckFailed(f"90 dB of loss leave {severe_db:.0f} dBFS, 30 dB {mild_db:.0f}")
    if any(not len(column) == 2 for column in platform.run_metrics(severe).values()):
        raise CheckFailed("a metric does not score simulated samples")
    for name in platform.visualizer_names:
        _check_drawn(name, platform.run_visualizer(name, severe, 0))
    return f"{mild_db:.0f} dBFS after a loss of 30 dB, {severe_db:.0f} after 90"


def _seed_matters(platform: Platform, first: Batch) -> bool:
    """Whether one of a few seeds chooses other clips; one clip leaves no choice."""
    training = next(iter(platform.samples.values()))
    if len(training.rows) < 2:
        return True
    for seed in range(2, 2 + SEEDS_TRIED):
        other = platform.simulate(MILD, (f"seed_{seed}_a", f"seed_{seed}_b"), seed)
        if any(not np.array_equal(t, other.tensors[name]) for name, t in first.tensors.items()):
            return True
    return False


def _sentences(samples: SampleSet) -> Iterable[str]:
    column = next(iter(samples.variants.values())).column("sentence").take(pa.array(samples.rows))
    return (sentence or "" for sentence in pc.unique(column).to_pylist())


def _as_stored(platform: Platform, batch: Batch) -> Batch:
    if not batch.chains:
        return batch.as_stored()
    chains = tuple(platform.chain(batch.state, i, as_float16=True) for i in batch.ids)
    return Batch(batch.state, batch.ids, batch.as_stored().tensors, chains)


def _check_types(handler: Any, values: Mapping[str, Any], sample_id: str) -> None:
    kinds = {"float": (float, int), "string": (str,), "boolean": (bool,)}
    for key, value in values.items():
        declared = handler.metadata_type[key].value
        if value is not None and type(value) not in kinds[declared]:
            raise CheckFailed(
                f"{handler.name}_{key} of {sample_id} is {value!r}, which is not a {declared}"
            )


def _check_alone(platform: Platform, batch: Batch, columns: Mapping[str, np.ndarray]) -> None:
    for start in range(0, len(batch.ids), BATCH_SIZE):
        part = slice(start, start + BATCH_SIZE)
        few = batch.part(part)
        for name, values in platform.run_metrics(few).items():
            if values.shape != (len(few.ids),):
                raise CheckFailed(f"{name} has shape {values.shape} for {len(few.ids)} samples")
            if not np.allclose(values, columns[name][part], rtol=1e-5, equal_nan=True):
                raise CheckFailed(f"{name} depends on what else is in the batch")


def _check_drawn(name: str, drawn: Any) -> None:
    audio = getattr(drawn, "audio", None)
    if audio is None:
        return
    if audio.dtype != np.float32 or not audio.size or not np.isfinite(audio).all():
        raise CheckFailed(f"{name}: {audio.size} samples of {audio.dtype}, or NaN among them")
    if np.abs(audio).max() > 1:
        raise CheckFailed(f"{name} exceeds full scale: {np.abs(audio).max():.3f}")


def _check_heatmap(platform: Platform, name: str, batch: Batch) -> None:
    heatmap = platform.run_heatmap(name, batch, 0)
    if heatmap is None:
        return
    picture = platform.run_visualizer(name, batch, 0).data
    if heatmap.shape != picture.shape[:2]:
        raise CheckFailed(f"{name}: a heatmap of {heatmap.shape} for a picture of {picture.shape}")
