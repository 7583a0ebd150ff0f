"""What code-loader does not look at: all samples alike, batches, float16, every key of a metric.

Its integration test looks at what a decorated function returns when it is called, and its
``check_dataset`` at one sample of each state.
"""

from collections import Counter
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np

from hearing_analysis import encoders
from hearing_analysis.samples import MAX_ID_LENGTH
from hearing_analysis.tensorleap.offline import Batch, Platform
from models.wav2vec2 import Wav2Vec2Preprocessor
from pipeline.errors import CheckFailed

BATCH_SIZE = 3
MAX_FLOAT16_DIFFERENCE = 0.02  # of corpus word error rate


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
    """Every sentence of every split fits into the labels."""
    preprocessor = Wav2Vec2Preprocessor.from_folder(platform.config.model_folder)
    sentences = {s.sentence(i) for s in platform.samples.values() for i in s.ids}
    longest = max(sentences, key=lambda sentence: len(preprocessor.label_ids(sentence)))
    encoders.labels(longest, preprocessor, platform.config.max_label_length)
    n_labels = len(preprocessor.label_ids(longest))
    return f"{len(sentences)} sentences, the longest has {n_labels} labels"


def check_tensors(platform: Platform) -> str:
    """Every tensor is float32, finite, of one shape for all samples, and exact as float16."""
    shapes: dict[str, set[tuple[int, ...]]] = {}
    for batch in platform.batches:
        for name, tensor in batch.tensors.items():
            shapes.setdefault(name, set()).add(tensor.shape[1:])
            if tensor.dtype != np.float32 or not np.isfinite(tensor).all():
                raise CheckFailed(f"{name} is {tensor.dtype}, or holds NaN or infinity")
        for name in ("labels", "lengths", "reference_bytes"):
            if (batch.tensors[name] != batch.tensors[name].astype(np.float16)).any():
                raise CheckFailed(f"{name} holds numbers that float16 cannot hold")
    uneven = [name for name, found in shapes.items() if len(found) > 1]
    if uneven:
        raise CheckFailed(f"{uneven[0]} has more than one shape: {sorted(shapes[uneven[0]])}")
    return ", ".join(f"{name} {list(*found)}" for name, found in shapes.items())


def check_predictions(platform: Platform) -> str:
    """As many labels as the model has outputs."""
    tensors = platform.batches[0].tensors
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
            for handler in platform.setup.metadata:
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
        stored = platform.run_metrics(_as_stored(batch))
        if not np.allclose(columns["ctc_loss"], stored["ctc_loss"], rtol=0.01, atol=0.1):
            raise CheckFailed("ctc_loss differs by more than 1 % as float16")
        edits += columns["word_edits"].sum(), stored["word_edits"].sum()
        n_words += columns["word_reference_length"].sum()
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
        given = platform.loader.metric_by_name()[name].direction
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
            for source in (batch, _as_stored(batch)):
                for at in (0, slice(0, 1)):
                    _check_drawn(name, platform.run_visualizer(name, source, at))
    return ", ".join(names)


def check_latent_spaces(platform: Platform) -> str:
    """Every latent space has a finite row per sample."""
    widths = {}
    for name in platform.setup.custom_latent_spaces:
        for batch in map(_as_stored, platform.batches):
            space = platform.run_latent_space(name, batch)
            if len(space) != len(batch.ids) or not np.isfinite(space).all():
                raise CheckFailed(f"{name} has shape {space.shape} for {len(batch.ids)} samples")
            widths[name] = space.shape[1]
    return ", ".join(f"{name} ({width})" for name, width in widths.items())


def _as_stored(batch: Batch) -> Batch:
    from code_loader.utils import simulate_engine_float16_downcast

    stored = {name: simulate_engine_float16_downcast(t) for name, t in batch.tensors.items()}
    return replace(batch, tensors=stored)


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
            if not np.allclose(values, columns[name][part], rtol=1e-5):
                raise CheckFailed(f"{name} depends on what else is in the batch")


def _check_drawn(name: str, drawn: Any) -> None:
    audio = getattr(drawn, "audio", None)
    if audio is None:
        return
    if audio.dtype != np.float32 or not audio.size or not np.isfinite(audio).all():
        raise CheckFailed(f"{name}: {audio.size} samples of {audio.dtype}, or NaN among them")
    if np.abs(audio).max() > 1:
        raise CheckFailed(f"{name} exceeds full scale: {np.abs(audio).max():.3f}")
