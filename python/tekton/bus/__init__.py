"""The message bus: subjects to publish to, patterns to subscribe to, streams that keep what was said."""
