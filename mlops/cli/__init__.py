"""The command `mlops`: thin faces over `mlops.app`, one module for each group of commands.

A module here imports click at most; what a command needs is imported inside it, so that
`mlops --help` answers at once and no command pays for another's libraries.
"""
