"""Random programs, judged by the model: what nobody thought of writing down as a scenario.

* :mod:`farm.measure.fuzz.generate` makes the programs; the same seed makes the same ones everywhere;
* :mod:`farm.measure.fuzz.hunt` runs them on every selected guest until one does not do as the model says;
* :mod:`farm.measure.fuzz.shrink` makes the program that failed as small as it gets;
* :mod:`farm.measure.fuzz.source` writes it as a scenario, ready to be pasted into the suite.
"""
