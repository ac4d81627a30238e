"""Messages and tools: what components say to one another, and what they can be asked to do."""
