"""One file per teacher: anything that gives soft targets for a batch. Students work with all of them alike."""
