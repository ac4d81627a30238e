"""The component registry and what belongs to it."""

from tekton.core.component_lifecycle.registry import ComponentRegistry, Registered, Result
from tekton.core.component_lifecycle.view import Page

__all__ = ["ComponentRegistry", "Page", "Registered", "Result"]
