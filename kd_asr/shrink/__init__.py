"""Networks of a finished run made smaller, on a map of bytes and speed against accuracy."""
