"""Who calls, what they may do, and what proves it: principals, roles, keys, tokens, revocations."""
