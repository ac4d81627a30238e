"""Streams: what keeps what was published, and those who replay and consume it."""
