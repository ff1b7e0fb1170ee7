"""Frame accuracy, word error rate and significance."""
