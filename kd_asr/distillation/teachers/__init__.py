"""One file a teacher: whatever gives soft targets for a batch. A student cannot tell them apart."""
