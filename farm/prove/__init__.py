"""What no emulator shows by itself."""
