"""Language model, decoding graph and decoder."""
