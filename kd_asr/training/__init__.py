"""The fit loop, schedules and checkpoints. Knows nothing of speech."""
