"""Agents: who can do what, and what they say to one another."""
