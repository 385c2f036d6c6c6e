"""Measurements: things counted or looked at, and not judged."""
