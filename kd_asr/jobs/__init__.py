"""Trainings as values, and the one place that carries them out."""
