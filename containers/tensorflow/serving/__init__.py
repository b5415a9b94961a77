"""The model server: raw rows in, predictions in the target's own unit out.

A request passes these stages, each a module that knows the ones before it only by their values:

    protocol   bytes of a connection → whole requests (httptools), and answers in their order
    routes     GET /ping, POST /invocations: which answer, in which form (negotiation)
    rows       a body as text/csv or application/json → columns, or what is wrong in which row
    batching   the rows of all requests that came meanwhile → one evaluation
    models     columns → predictions: the SavedModel's signature, or the fast path

`settings` reads the environment, `workers` runs one or several processes on one socket, `main` is
the command. Why so: one thread evaluates and serves. While it evaluates, further requests gather in
their sockets; the next evaluation takes them all. So a single row waits for nothing and many
connections share the fixed cost of an evaluation, which is most of it.

Standard library, httptools and uvloop, and what the model needs. Python 3.9 and later; knows
nothing of `mlops`.
"""
