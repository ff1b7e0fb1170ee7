"""Corpora: LibriSpeech's layout, downloads, synthetic speech; all become one manifest type."""
