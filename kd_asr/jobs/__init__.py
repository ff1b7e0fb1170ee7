"""Trainings as values, the one place that carries them out, and the systems that are made of what they trained."""
