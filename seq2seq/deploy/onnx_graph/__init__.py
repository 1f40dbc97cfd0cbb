"""ONNX graph of a trained model: encoder, bridge, decoder and search as the nodes of one file."""
