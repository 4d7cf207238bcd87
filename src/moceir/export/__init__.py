"""Files for other programs: ONNX for runtimes, and what stands on it."""

from moceir.export.onnx_file import Exported, to_onnx

__all__ = ["Exported", "to_onnx"]
