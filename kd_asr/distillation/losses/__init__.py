"""One file per loss: a registered class, a pure function with one value in nats per label."""
