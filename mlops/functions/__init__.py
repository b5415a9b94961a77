"""Lambda functions, run here by the Lambda Runtime API.

names, configuration, environment, plan   from requests to what a worker is to be   (pure)
code          zips: checked and kept
exchange      the states of the talk between a runtime and its host
http, runtime_api   that talk as HTTP; each worker has a port of its own
log_lines     what Lambda writes into logs and answers of its own   (pure)
worker        one execution environment: start, invoke, time out, end
pool          idle and busy workers: warm reuse
invoker       an invocation, from payload to answer
manager       all functions; the face of this package
"""

from mlops.functions.manager import FunctionManager

__all__ = ["FunctionManager"]
