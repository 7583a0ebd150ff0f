"""Export a wav2vec2, HuBERT or Whisper checkpoint, and check what was written against torch.

``command.py`` says where files go and imports neither torch nor TensorFlow; ``onnx_format.py``
writes with the one, ``keras_format.py`` with the other.
"""

from models.export.command import ExportReport, ExportSettings, export_checkpoint, export_onnx

__all__ = ["ExportReport", "ExportSettings", "export_checkpoint", "export_onnx"]
