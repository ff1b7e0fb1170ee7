"""One file a published method that is more than a list of losses."""
