"""What keeps a failing component from failing its callers: circuit breakers, bulkheads, fallbacks, few retries."""
