"""What is run and how: selecting, planning, executing, judging and keeping account."""
