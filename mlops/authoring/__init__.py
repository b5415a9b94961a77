"""From a TARGET, as a person names it, to a compiled pipeline.

parse_target   "pipeline.py:get_pipeline"  →  a Target value      (pure)
compile_target  a Target                   →  a CompiledPipeline  (runs the user's code)
"""

from mlops.authoring.compile import CompiledPipeline, compile_target
from mlops.authoring.target import parse_target

__all__ = ["CompiledPipeline", "compile_target", "parse_target"]
