"""One room per experiment: its settings, plan and report."""
