"""Files for other programs: ONNX, OpenVINO, and what stands on them."""

from moceir.export.exported import Exported, to_onnx, to_openvino

__all__ = ["Exported", "to_onnx", "to_openvino"]
