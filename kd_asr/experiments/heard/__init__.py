"""Privileged information on speech: teachers hear or see more than their students ever will (Lopez-Paz and others
2016)."""
