"""Networks; the ensemble is a model too."""
