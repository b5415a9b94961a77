"""Endpoints: models behind servers, found again when the gateway comes back.

plan       an endpoint configuration and its models, resolved into what to start   (pure)
artifacts  the model's files, put in place safely
server     one server: started, waited for, watched, started again
routing    which variant answers the next request                                  (pure)
fleet      the servers of one deployment
endpoint   one endpoint: create, update, roll back, scale, delete
async_*    asynchronous invocations: what follows from an attempt (pure), one attempt, the queue
proxy      one invocation, through kept connections
manager    all of them; the face of this package
"""

from mlops.hosting.manager import EndpointManager

__all__ = ["EndpointManager"]
