"""The container runtimes: Docker, Linux processes, and a fake. One `/opt/ml` layout for all.

`choice.choose_runtime` picks one; `probes.probe_machine` says what this machine can do and why
not more. The contract is `mlops.ports.ContainerRuntime`; one suite in `tests/contract/runtimes`
holds all of them to it.
"""
