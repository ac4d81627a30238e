"""A message on its way: where it was published, where an answer goes, and its place among the others.

It is written in Rust (`tekton._native`, where it is described): one is made for each message that is published.
"""

from tekton._native import Envelope

__all__ = ["Envelope"]
