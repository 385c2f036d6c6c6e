"""Variants, the build of their guests from folders to an ELF, and the checks of what was built."""
