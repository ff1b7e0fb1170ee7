"""From waves to normalised log-mel frames, kept in a memory-mapped frame store."""
