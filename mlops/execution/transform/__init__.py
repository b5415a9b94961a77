"""Batch transform: a model's server is fed files from S3, and its answers become files in S3.

records   a file's bytes, cut into records                           (pure)
batches   records, put together into requests                        (pure)
filters   DataProcessing: what of a record goes in, and comes out    (pure)
settings  what counts of the request, the container's word and the defaults   (pure)
feeding   one file through a server, its answers in their order

Sources: the API Reference, CreateTransformJob and its types (botocore's service model has the same
text), and the Developer Guide, "Use Batch Transform" and "Associate Prediction Results with Input
Records".
"""
