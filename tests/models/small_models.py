"""Small untrained checkpoints, whole in every file."""

import json
from pathlib import Path
from typing import Any

import torch
from transformers import (
    HubertConfig,
    HubertForCTC,
    Wav2Vec2Config,
    Wav2Vec2ForCTC,
    WhisperConfig,
    WhisperFeatureExtractor,
    WhisperForConditionalGeneration,
)

from models.train import write_processor
from pipeline.logmel.features import MelSettings
from pipeline.logmel.tokens import LabelSettings, load_tokenizer

CHUNK_SECONDS = 6
TINY_CTC = {
    "vocab_size": 32,
    "hidden_size": 16,
    "intermediate_size": 32,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "conv_dim": (8, 8, 8, 8, 8, 8, 8),
    "num_conv_pos_embeddings": 8,
    "num_conv_pos_embedding_groups": 2,
}
# The shape of facebook/wav2vec2-base-960h and facebook/wav2vec2-large-960h-lv60, but for the depth.
BASE_SHAPE = {
    "hidden_size": 768,
    "intermediate_size": 3072,
    "num_attention_heads": 12,
    "num_hidden_layers": 1,
    "conv_dim": (512,) * 7,
    "num_conv_pos_embeddings": 128,
    "num_conv_pos_embedding_groups": 16,
}
LARGE_SHAPE = {
    **BASE_SHAPE,
    "hidden_size": 1024,
    "intermediate_size": 4096,
    "num_attention_heads": 16,
    "feat_extract_norm": "layer",
    "conv_bias": True,
    "do_stable_layer_norm": True,
}


def make_wav2vec2(folder: Path, **changes: Any) -> None:
    """Write a wav2vec2 with random weights and the vocabulary of the shipped one."""
    torch.manual_seed(0)
    _save_ctc(Wav2Vec2ForCTC(Wav2Vec2Config(**TINY_CTC | changes)), folder)


def make_hubert(folder: Path, **changes: Any) -> None:
    """Write a HuBERT with CTC and random weights."""
    torch.manual_seed(0)
    _save_ctc(HubertForCTC(HubertConfig(**TINY_CTC | changes)), folder)
    path = folder / "config.json"  # the processor's files are the same in both families
    assert json.loads(path.read_text())["model_type"] == "hubert"


def make_whisper(folder: Path, **changes: Any) -> None:
    """Write a Whisper with random weights and the shipped tokenizer."""
    torch.manual_seed(0)
    tokenizer = load_tokenizer(LabelSettings())
    mel = MelSettings(n_mels=80, chunk_length=CHUNK_SECONDS)
    end = tokenizer.eos_token_id
    shape = {
        "vocab_size": len(tokenizer),
        "num_mel_bins": mel.n_mels,
        "max_source_positions": mel.n_frames // 2,
        "max_target_positions": 32,
        "d_model": 32,
        "encoder_layers": 2,
        "decoder_layers": 2,
        "encoder_attention_heads": 4,
        "decoder_attention_heads": 4,
        "encoder_ffn_dim": 64,
        "decoder_ffn_dim": 64,
        # Spread out, so that logits differ by more than rounding.
        "init_std": 0.15,
        "decoder_start_token_id": tokenizer.prefix_tokens[0],
        "pad_token_id": end,
        "bos_token_id": end,
        "eos_token_id": end,
        "suppress_tokens": None,
        "begin_suppress_tokens": None,
    }
    WhisperForConditionalGeneration(WhisperConfig(**shape | changes)).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    WhisperFeatureExtractor(feature_size=80, chunk_length=CHUNK_SECONDS).save_pretrained(folder)


def _save_ctc(model: Any, folder: Path) -> None:
    model.save_pretrained(folder)
    write_processor(folder)
