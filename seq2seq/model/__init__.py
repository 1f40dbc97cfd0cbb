"""The model: encoder, bridge, decoder, and the layers they are made of."""
