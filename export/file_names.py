"""The names of the files in an export. Standard library only."""

PAGE = "README.md"
SAVED_MODEL = "saved_model"
ONNX = "model.onnx"
ONNX_INT8 = "model.int8.onnx"
GOLDEN = "golden"
GOLDEN_ANSWERS = "golden.json"
PARITY = "parity.json"
