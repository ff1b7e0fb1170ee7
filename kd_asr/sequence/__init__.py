"""Sequence training by maximum mutual information: graphs of phone sequences, and sums over all their paths."""
