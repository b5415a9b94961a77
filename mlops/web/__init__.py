"""What a browser shows: the report of an execution, one file that needs nothing else."""
