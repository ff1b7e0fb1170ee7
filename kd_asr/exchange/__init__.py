"""What comes in from elsewhere and goes out again: corpora before work starts, results in the formats of others."""
