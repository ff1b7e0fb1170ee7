"""Losses, soft targets, teachers, the posterior store and objectives. Knows nothing about speech."""
