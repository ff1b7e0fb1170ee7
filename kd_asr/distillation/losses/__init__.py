"""One file a loss: a registered class of pure functions, one value in nats for each label."""
