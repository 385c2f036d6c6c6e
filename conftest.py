"""What every test gets: hypothesis profiles, pytest's own pytester, and no history: runs of tests are not for it."""

from __future__ import annotations

import os

import hypothesis

pytest_plugins = ["pytester"]

os.environ["PATCHFARM_HISTORY"] = "off"  # of the commands that tests start too

# Emulators and compilers make the time of an example say nothing, hence no deadline.  In CI every run sees the same
# examples, so that a red run is about the change; elsewhere every run looks for new ones.
hypothesis.settings.register_profile("dev", deadline=None)
hypothesis.settings.register_profile("ci", deadline=None, derandomize=True, print_blob=True)
hypothesis.settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE") or ("ci" if os.environ.get("CI") else "dev"))
