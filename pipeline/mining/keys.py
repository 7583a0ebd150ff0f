"""Keys of a preset: those of stopes' global mining pipeline, and what they are by default here."""

from typing import Any

UNITS = ("samples16k", "ms", "s")
LARGEST_PRESET = 2**20  # bytes
# Sections of stopes' pipeline, with its values where they have a meaning here.
DEFAULTS: dict[str, Any] = {
    "src_lang": None,
    "tgt_lang": None,
    "output_dir": None,
    "index_type": None,
    "mine_threshold": 1.06,
    "data": {},
    "lang_configs": {},
    "embed_text": None,
    "embed_speech": None,
    "embedding_sample": {"sample_sz": 1_000_000},
    "train_index": {},
    "populate_index": {},
    "calculate_distances": {
        "num_probe": None,
        "knn": 16,
        "save_dists_as_fp16": False,
        "recall_wanted": 0.95,
    },
    "mine_indexes": {
        "k_extract": 1,
        "margin_type": "ratio",
        "mine_type": "union",
        "sort_neighbors": False,
        "margin_norm": "mean",
        "mine_threshold": "${mine_threshold}",
    },
    "mine_sentences": {
        "mine_threshold": "${mine_threshold}",
        "score_max": None,
        "dedup_bitexts": True,
        "compress_output": True,
    },
}
DATA_KEYS = (
    *("data_version", "iteration", "data_shard_dir", "shard_type", "bname", "shard_list"),
    *("shard_glob", "meta_glob", "nl_file_template"),
    *("corpus", "splits", "column", "segment_unit"),
)
# What stopes has for its launcher, its cache and its GPUs; of no effect here.
WITHOUT_EFFECT = {
    *("_target_", "launcher", "defaults", "model_dir", "vocab_dir", "local_tmp_dir", "hydra"),
    *("embedding_dimensions", "existing_index_path", "existing_embedding_glob", "max_shard_size"),
    *("existing_aux_embedding_glob", "segment_audio", "split_in_shards", "merge_shards"),
    *("merge_indexes", "count_lines", "sharded_langs", "aux_embed", "requirements", "lang"),
    *("output_dir", "num_cpu", "use_gpu", "fp16", "enable_checkpointing", "chunk_size", "data"),
    *("index_type", "embedding_file", "embedding_files", "embedding_dimensions", "shards", "index"),
    *("max_num_workers", "sample_shards", "tmp_dir", "gpu_type", "gpu_memory_gb", "batch_size"),
    *("normalize_query_embeddings", "src_k", "tgt_k", "knn_dist", "num_probe", "src_lang"),
    *("tgt_lang", "src_aux_embeddings", "tgt_aux_embeddings", "alpha", "comparator_path"),
    *("symmetrize_comparator", "src_text_files", "tgt_text_files", "src_meta_files"),
    *("tgt_meta_files", "alignment_file", "preprocess", "encode", "lang_shard_name"),
}
