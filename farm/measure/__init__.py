"""What is counted or looked at, and not judged."""
