"""wav2vec2 in Keras 3 on TensorFlow, with the weights of any Hugging Face checkpoint.

The layers are Keras's own, so a saved ``.keras`` or ``.h5`` loads wherever Keras does, without any
code of ours; weights are read from safetensors with numpy, without torch::

    model = build_model(Path("models/mini-wav2vec2"), n_samples=96_000)
    logits, hidden_states = model(batch)
    model.save("model.keras")

torch must not be imported in the same process: triton, which comes with it, dies beside TensorFlow.
The architecture is that of Baevski et al. 2020 (arXiv 2006.11477) as transformers'
``Wav2Vec2ForCTC`` has it, in both its variants: group norm in the first convolution and layer norm
behind each sum (``base``), layer norm in every convolution and before each sum (``large-lv60``,
XLSR). The positional convolution's weight norm is multiplied out.
"""

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

os.environ.setdefault("KERAS_BACKEND", "tensorflow")
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")

import keras
import numpy as np
import tensorflow as tf
from keras import layers

from models.checkpoint import Checkpoint, open_checkpoint
from models.tensors import StoredTensors
from models.wav2vec2 import CTC_FAMILIES
from pipeline.errors import InputError

CONVOLUTION_EPSILON = 1e-5  # of torch, whose norms the feature encoder has
# What would compute something else than is built here.
UNSUPPORTED = ("add_adapter", "adapter_attn_dim", "conv_pos_batch_norm")


def build_model(folder: Path, n_samples: int) -> keras.Model:
    """Build the network of a checkpoint and give it its weights.

    Parameters
    ----------
    folder : Path
        Holds ``config.json`` and ``model.safetensors`` of a ``Wav2Vec2ForCTC`` or ``HubertForCTC``.
    n_samples : int
        Length of the input.

    Returns
    -------
    keras.Model
        ``input_values`` float32 (batch, n_samples) to ``logits`` (batch, frames, vocabulary) and
        ``hidden_states`` (batch, frames, hidden).

    Raises
    ------
    MissingPathError, InputError
        If the folder, its configuration or its weights are missing, damaged, of another family, or
        of a variant that is not built here.
    """
    checkpoint = open_checkpoint(folder)
    _check(checkpoint)
    config = checkpoint.config
    waveform = keras.Input((n_samples,), name="input_values", dtype="float32")
    features = _feature_encoder(layers.Reshape((n_samples, 1), name="channel")(waveform), config)
    hidden = _feature_projection(features, config)
    states = _encoder(hidden, config)
    states = layers.Activation("linear", name="hidden_states")(states)
    logits = layers.Dense(config["vocab_size"], name="logits")(states)
    model = keras.Model(waveform, [logits, states], name=checkpoint.family)
    load_weights(model, checkpoint)
    return model


def load_model(path: Path) -> keras.Model:
    """Load a saved ``.keras`` or ``.h5``, without compiling it and without running code in it.

    Raises
    ------
    InputError
        If it is no Keras model.
    """
    try:
        return keras.models.load_model(path, compile=False, safe_mode=True)
    except Exception as error:  # whatever a damaged archive makes Keras stumble on
        reason = str(error).partition("\n")[0]
        raise InputError(f"{path} is not a model that Keras opens ({reason})") from error


def ctc_loss(
    logits: tf.Tensor, labels: tf.Tensor, n_frames: tf.Tensor, n_labels: tf.Tensor, blank_id: int
) -> tf.Tensor:
    """CTC loss per sample, to train or judge the network with: as torch's, in nats.

    Parameters
    ----------
    logits : tf.Tensor [shape=(batch, frames, vocabulary)]
    labels : tf.Tensor [shape=(batch, length), dtype=int32]
        Ids; padded with whatever.
    n_frames, n_labels : tf.Tensor [shape=(batch,), dtype=int32]
        Frames and labels of each sample that count.
    blank_id : int
    """
    loss: tf.Tensor = tf.nn.ctc_loss(
        tf.maximum(labels, 0),
        tf.cast(logits, tf.float32),
        n_labels,
        n_frames,
        logits_time_major=False,
        blank_index=blank_id,
    )
    return loss


def load_weights(model: keras.Model, checkpoint: Checkpoint) -> None:
    """Copy the weights of a checkpoint into a network of its shape, tensor by tensor.

    Raises
    ------
    InputError
        If a tensor is missing or of another shape.
    """
    tensors = StoredTensors(checkpoint.folder)
    config, base = checkpoint.config, checkpoint.family
    for index in range(len(config["conv_dim"])):
        source = f"{base}.feature_extractor.conv_layers.{index}"
        _set(model, f"conv_{index}", _convolution(tensors, f"{source}.conv"))
        if f"conv_{index}_norm" in _names(model):
            _set(model, f"conv_{index}_norm", _norm(tensors, f"{source}.layer_norm"))
    projection = f"{base}.feature_projection"
    if "projection_norm" in _names(model):
        _set(model, "projection_norm", _norm(tensors, f"{projection}.layer_norm"))
    _set(model, "projection", _dense(tensors, f"{projection}.projection"))
    _set(
        model,
        "position",
        _weight_normed_convolution(tensors, f"{base}.encoder.pos_conv_embed.conv"),
    )
    _set(model, "encoder_norm", _norm(tensors, f"{base}.encoder.layer_norm"))
    for index in range(config["num_hidden_layers"]):
        source, target = f"{base}.encoder.layers.{index}", f"layer_{index}"
        heads = config["num_attention_heads"]
        _set(model, f"{target}_attention", _attention(tensors, f"{source}.attention", heads))
        _set(model, f"{target}_norm", _norm(tensors, f"{source}.layer_norm"))
        dense = f"{source}.feed_forward"
        _set(model, f"{target}_inner", _dense(tensors, f"{dense}.intermediate_dense"))
        _set(model, f"{target}_outer", _dense(tensors, f"{dense}.output_dense"))
        _set(model, f"{target}_final_norm", _norm(tensors, f"{source}.final_layer_norm"))
    _set(model, "logits", _dense(tensors, "lm_head"))


def _check(checkpoint: Checkpoint) -> None:
    folder, config = checkpoint.folder, checkpoint.config
    if checkpoint.family not in CTC_FAMILIES:
        raise InputError(
            f"{folder} holds a {checkpoint.family} model, which is not built in Keras; "
            "export it with --format onnx"
        )
    for key in UNSUPPORTED:
        if config.get(key):
            raise InputError(
                f"{folder}/config.json has {key} {config[key]!r}, which is not built in Keras; "
                "export it with --format onnx"
            )
    if config["feat_extract_norm"] not in ("group", "layer"):
        raise InputError(
            f"{folder}/config.json has feat_extract_norm {config['feat_extract_norm']!r}; "
            "supported: 'group', 'layer'"
        )


def _feature_encoder(signal: Any, config: Mapping[str, Any]) -> Any:
    """Convolutions from samples to frames."""
    shapes = zip(config["conv_dim"], config["conv_kernel"], config["conv_stride"], strict=True)
    for index, (width, kernel, stride) in enumerate(shapes):
        signal = layers.Conv1D(
            width, kernel, stride, use_bias=config["conv_bias"], name=f"conv_{index}"
        )(signal)
        if config["feat_extract_norm"] == "layer":
            signal = layers.LayerNormalization(
                epsilon=CONVOLUTION_EPSILON, name=f"conv_{index}_norm"
            )(signal)
        elif index == 0:  # every channel by itself, over time
            signal = layers.GroupNormalization(
                groups=width, epsilon=CONVOLUTION_EPSILON, name="conv_0_norm"
            )(signal)
        activation = config["feat_extract_activation"]
        signal = layers.Activation(activation, name=f"conv_{index}_activation")(signal)
    return signal


def _feature_projection(features: Any, config: Mapping[str, Any]) -> Any:
    if config.get("feat_proj_layer_norm", True):  # HuBERT may do without
        features = layers.LayerNormalization(
            epsilon=config["layer_norm_eps"], name="projection_norm"
        )(features)
    return layers.Dense(config["hidden_size"], name="projection")(features)


def _encoder(hidden: Any, config: Mapping[str, Any]) -> Any:
    """Transformer over frames that know where they are."""
    stable = config["do_stable_layer_norm"]
    norm = layers.LayerNormalization(epsilon=config["layer_norm_eps"], name="encoder_norm")
    hidden = layers.Add(name="positioned")([hidden, _positions(hidden, config)])
    hidden = hidden if stable else norm(hidden)
    for index in range(config["num_hidden_layers"]):
        layer = _stable_layer if stable else _plain_layer
        hidden = layer(hidden, f"layer_{index}", config)
    return norm(hidden) if stable else hidden


def _positions(hidden: Any, config: Mapping[str, Any]) -> Any:
    """A grouped convolution as wide as a second and a half tells a frame where it is."""
    width = config["num_conv_pos_embeddings"]
    # As torch pads both ends by half the width, and transformers drops a frame if that is even.
    padded = layers.ZeroPadding1D((width // 2, (width - 1) // 2), name="position_padding")(hidden)
    position = layers.Conv1D(
        config["hidden_size"],
        width,
        groups=config["num_conv_pos_embedding_groups"],
        name="position",
    )(padded)
    return layers.Activation(config["feat_extract_activation"], name="position_activation")(
        position
    )


def _plain_layer(hidden: Any, name: str, config: Mapping[str, Any]) -> Any:
    """Layer norm behind each sum."""
    heard = _self_attention(hidden, name, config)
    hidden = _layer_norm(layers.Add(name=f"{name}_sum")([hidden, heard]), f"{name}_norm", config)
    total = layers.Add(name=f"{name}_final_sum")([hidden, _feed_forward(hidden, name, config)])
    return _layer_norm(total, f"{name}_final_norm", config)


def _stable_layer(hidden: Any, name: str, config: Mapping[str, Any]) -> Any:
    """Layer norm before each sum."""
    heard = _self_attention(_layer_norm(hidden, f"{name}_norm", config), name, config)
    hidden = layers.Add(name=f"{name}_sum")([hidden, heard])
    normed = _layer_norm(hidden, f"{name}_final_norm", config)
    return layers.Add(name=f"{name}_final_sum")([hidden, _feed_forward(normed, name, config)])


def _self_attention(hidden: Any, name: str, config: Mapping[str, Any]) -> Any:
    heads, width = config["num_attention_heads"], config["hidden_size"]
    attention = layers.MultiHeadAttention(heads, width // heads, name=f"{name}_attention")
    return attention(hidden, hidden)


def _feed_forward(hidden: Any, name: str, config: Mapping[str, Any]) -> Any:
    inner = layers.Dense(
        config["intermediate_size"], activation=config["hidden_act"], name=f"{name}_inner"
    )(hidden)
    return layers.Dense(config["hidden_size"], name=f"{name}_outer")(inner)


def _layer_norm(hidden: Any, name: str, config: Mapping[str, Any]) -> Any:
    return layers.LayerNormalization(epsilon=config["layer_norm_eps"], name=name)(hidden)


def _names(model: keras.Model) -> frozenset[str]:
    return frozenset(layer.name for layer in model.layers)


def _set(model: keras.Model, name: str, values: list[np.ndarray]) -> None:
    layer = model.get_layer(name)
    expected, found = [tuple(w.shape) for w in layer.weights], [v.shape for v in values]
    if expected != found:
        raise InputError(
            f"the weights of {name} have shapes {found}, config.json says {expected}; take both "
            "from one checkpoint"
        )
    layer.set_weights(values)


def _norm(tensors: StoredTensors, name: str) -> list[np.ndarray]:
    return [tensors[f"{name}.weight"], tensors[f"{name}.bias"]]


def _dense(tensors: StoredTensors, name: str) -> list[np.ndarray]:
    return [tensors[f"{name}.weight"].T, tensors[f"{name}.bias"]]


def _convolution(tensors: StoredTensors, name: str) -> list[np.ndarray]:
    # torch (out, in, kernel), Keras (kernel, in, out)
    kernel = tensors[f"{name}.weight"].transpose(2, 1, 0)
    return [kernel, tensors[f"{name}.bias"]] if f"{name}.bias" in tensors else [kernel]


def _weight_normed_convolution(tensors: StoredTensors, name: str) -> list[np.ndarray]:
    """Multiply out a kernel of direction v and, per tap, length g (Salimans & Kingma 2016)."""
    names = (
        (f"{name}.parametrizations.weight.original0", f"{name}.parametrizations.weight.original1"),
        (f"{name}.weight_g", f"{name}.weight_v"),  # written by older versions of torch
    )
    length, direction = names[0] if names[0][0] in tensors else names[1]
    v = tensors[direction]
    kernel = tensors[length] * v / np.sqrt((v.astype(np.float64) ** 2).sum((0, 1), keepdims=True))
    return [kernel.astype(np.float32).transpose(2, 1, 0), tensors[f"{name}.bias"]]


def _attention(tensors: StoredTensors, name: str, heads: int) -> list[np.ndarray]:
    """Weights in Keras's order: query, key, value, output; kernel and bias of each."""
    values = []
    for part in ("q_proj", "k_proj", "v_proj"):
        kernel, bias = _dense(tensors, f"{name}.{part}")
        values += [kernel.reshape(len(kernel), heads, -1), bias.reshape(heads, -1)]
    kernel, bias = _dense(tensors, f"{name}.out_proj")
    return [*values, kernel.reshape(heads, -1, kernel.shape[1]), bias]
