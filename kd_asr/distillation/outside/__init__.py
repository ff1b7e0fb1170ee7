"""Posteriors that other programs have stored: their files, and the maps from their classes and frames to ours."""
