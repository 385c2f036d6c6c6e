"""From folders to an ELF: what a variant is, how its guest is built, and what is checked of it."""
