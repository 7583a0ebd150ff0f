"""Preprocessing: from a speech corpus to hearing-loss variants, features and embeddings."""

__version__ = "0.1.0"
