"""Log-mel features: Whisper's own values, without the padding that can be put back on reading."""

from pipeline.logmel.reader import FeatureSet, SplitFeatures, open_features

__all__ = ["FeatureSet", "SplitFeatures", "open_features"]
