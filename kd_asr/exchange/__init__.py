"""What comes in from elsewhere and goes out again: corpora before work starts, results in the formats of others."""

from typing import Literal

Format = Literal["ctm", "textgrid", "lhotse", "kaldi", "npz"]
FORMATS: tuple[Format, ...] = ("ctm", "textgrid", "lhotse", "kaldi", "npz")
# Those that hold a matrix for each utterance.
MATRICES: tuple[Format, ...] = ("kaldi", "npz")
