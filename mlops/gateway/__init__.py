"""One HTTP server that speaks AWS's protocols, one process for each state folder.

``python -m mlops.gateway --store DIR`` runs it; ``process.ensure_gateway`` finds or starts it.

    server     the listeners, and the life of a gateway from start to stop
    router     which service a request is for
    protocols  requests and answers on the wire: AWS JSON, AWS query, refusals
    s3         S3's REST face
    internal   what the command asks beyond AWS: health, details, following
    process    the process: lock, address file, start, replacement
    client     the command's side
"""
