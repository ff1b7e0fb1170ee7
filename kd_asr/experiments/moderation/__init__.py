"""What a facilitator has learnt of its teachers."""
