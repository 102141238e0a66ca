"""Visual tokens on disk: a sharded, verified cache that is written once and read in shuffled batches."""
