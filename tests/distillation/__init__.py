"""Tests of views, of signals on disk, and of what trains with them."""
