"""Log-mel features: Whisper's own values, without the padding that can be put back on reading."""

from pipeline.logmel.reader import FeatureSet, open_features

__all__ = ["FeatureSet", "open_features"]
