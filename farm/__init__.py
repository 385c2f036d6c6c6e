"""patchfarm: does a runtime-patchable call behave the same on every architecture, and would the test have noticed?"""

__version__ = "0.1.0"
