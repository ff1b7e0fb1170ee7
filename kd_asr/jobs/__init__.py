"""Trainings as values, the one place that runs them, and the systems made of the trained networks."""
