"""Steps to come: restarts."""

STEPS = ()
