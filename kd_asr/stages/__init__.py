"""One file per stage: a function from settings and input artifacts to one output folder."""
