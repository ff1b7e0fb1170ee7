"""Stage `corpus`: the speech itself, downloaded or made, unless it is there."""

from __future__ import annotations


