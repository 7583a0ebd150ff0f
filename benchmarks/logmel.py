"""How much faster the features are than transformers' extractor, per 5 s clip, on arrays."""

from pairs import compare  # isort: skip - sets the number of threads before numpy is imported

import numpy as np
from transformers import WhisperFeatureExtractor

from pipeline.logmel.features import MelSettings, log_mel, pad


def main(repeats: int = 15) -> None:
    clip = (0.1 * np.random.default_rng(0).standard_normal(80_000)).astype(np.float32)
    for n_mels in (80, 128):
        settings = MelSettings(n_mels)
        extractor = WhisperFeatureExtractor(feature_size=n_mels)

        def peer(extractor: WhisperFeatureExtractor = extractor) -> object:
            return extractor(clip, sampling_rate=16_000, return_tensors="np")

        def padded(settings: MelSettings = settings) -> object:
            return pad(log_mel(clip, settings), settings.n_frames)

        def compact(settings: MelSettings = settings) -> object:
            return log_mel(clip, settings)

        compare(f"{n_mels} mel bins, padded", padded, peer, repeats)
        compare(f"{n_mels} mel bins, compact", compact, peer, repeats)


if __name__ == "__main__":
    main()
