"""Knowledge distillation for speech recognition."""
