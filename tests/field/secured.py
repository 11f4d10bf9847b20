"""Steps to come: secured."""

STEPS = ()
