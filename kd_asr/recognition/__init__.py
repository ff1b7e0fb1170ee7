"""A user's own audio through a trained system, which is taken from a run or from an export folder."""
