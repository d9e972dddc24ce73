"""What threads do inside the parallel region: one module per kind of task."""
