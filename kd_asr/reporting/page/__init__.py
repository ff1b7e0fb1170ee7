"""The page of a report: one folder with HTML, opened from disk, that shows and plays what was found."""
