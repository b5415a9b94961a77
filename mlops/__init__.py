"""The whole MLOps loop of Amazon SageMaker on a laptop, and the same pipeline in a real account."""

__version__ = "0.1.0"
