"""Settings: their types and ranges, read from YAML files and flags, checked before any work starts, and explained."""
