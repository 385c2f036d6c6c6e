"""Litmus tests of AArch64 instruction fetch: what their final states can be (docs/litmus.md).

A file is read (:mod:`.parse`, :mod:`.condition`) and its instructions are assembled (:mod:`.assemble`, :mod:`.forms`;
what a barrier does is from ``arch.toml``: :mod:`.facts`).
Each thread of the test (:mod:`.model`) is executed alone by Unicorn, with every value that its loads and fetches may
have (:mod:`.execute`); then the executions that the ordering rules (:mod:`.rules`) permit are looked for
(:mod:`.check`).  All of that runs in a child (:mod:`.child`), which :mod:`.judge` starts.
"""
