"""Proof of what no emulator shows by itself."""
