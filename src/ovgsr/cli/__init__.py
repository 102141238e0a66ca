"""The command line: one thin file a command; printing lives here and nowhere else."""
