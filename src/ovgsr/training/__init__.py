"""Training: the wiring diagram, the plain loop, and the run folder it leaves."""
