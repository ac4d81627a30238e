"""Agents that are somewhere else, reached by their Agent2Agent card; see `tekton.utils.remote_agents.remote_agents`."""

from tekton.utils.remote_agents.credential import Credential
from tekton.utils.remote_agents.limits import CallLimits
from tekton.utils.remote_agents.registration import RemoteAgent
from tekton.utils.remote_agents.remote_agents import RemoteAgents

__all__ = ["CallLimits", "Credential", "RemoteAgent", "RemoteAgents"]
