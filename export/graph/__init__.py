"""The network as a graph: SavedModel, ONNX, int8, metadata."""
