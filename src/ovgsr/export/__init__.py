"""Export: students for machines without PyTorch."""
