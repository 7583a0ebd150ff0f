"""Speech recognisers: preprocessing and decoding, training, export to ONNX."""
