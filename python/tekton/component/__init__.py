"""What turns a few lines of Python into a served, registered component."""

from tekton.component.component import Component as Component
from tekton.gateway.request import Request as Request
from tekton.gateway.request import Response as Response
from tekton.gateway.sse import EventStream as EventStream
