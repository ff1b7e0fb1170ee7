"""From audio to normalised log-mel frames in a memory-mapped store, and their variation in training."""
