"""Lexicon, HMM topology, Gaussian mixtures and Viterbi alignment: one target per frame."""
