"""One file a task: what networks learn from and are measured on, for jobs that know no task."""
