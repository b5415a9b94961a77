"""What a developer asks of pipelines all day, as functions; `mlops.cli` has them as commands.

``validate`` (every problem of a pipeline before anything runs), ``plan`` (what would run, and what
comes from cache), ``run_step`` (one step of an execution again, alone), ``diff`` (two executions
side by side). What they read of executions they ask the gateway; none writes to its state.
"""
