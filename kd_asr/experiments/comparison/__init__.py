"""Finished runs side by side: every method's students, with what they cost."""
