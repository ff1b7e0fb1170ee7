"""One file per task: data for training and evaluation, for jobs that know nothing about tasks."""
