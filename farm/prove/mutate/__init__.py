"""Mutants: a mechanism's patch code, broken on purpose in one place, to learn whether anybody would notice.

:mod:`~farm.prove.mutate.operators` says how a text can be broken, :mod:`~farm.prove.mutate.c` and
:mod:`~farm.prove.mutate.asm` where; :mod:`~farm.prove.mutate.subject` which texts of a guest are patch code;
:mod:`~farm.prove.mutate.overlay` builds a guest with one of them broken, :mod:`~farm.prove.mutate.judge` says who
notices, and :mod:`~farm.prove.mutate.hunt` does that for a whole selection.
"""
