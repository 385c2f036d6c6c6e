"""Runs of the farm: selecting, planning, executing, judging and keeping account."""
