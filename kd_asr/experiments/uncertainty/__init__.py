"""Whether a system knows when it does not know: wrong frames, misrecognised words, audio unlike the training data."""
