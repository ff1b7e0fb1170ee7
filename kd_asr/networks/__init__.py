"""Network architectures, their views of utterances, and ensembles."""
