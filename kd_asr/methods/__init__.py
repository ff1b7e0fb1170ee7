"""One file per published distillation method: a teacher and an objective handed to the fit loop."""
