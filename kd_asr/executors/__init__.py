"""Where the items of a map are computed: one file for each executor."""
