"""One room an experiment: its settings, its plan and its report."""
