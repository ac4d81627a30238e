"""Tracing: what was done, where, and how long it took."""

from tekton.core.tracing.span import Kind, Span, SpanEvent, Status, Value
from tekton.core.tracing.tracer import NOTHING, OpenSpan, Tracer, span

__all__ = ["NOTHING", "Kind", "OpenSpan", "Span", "SpanEvent", "Status", "Tracer", "Value", "span"]
