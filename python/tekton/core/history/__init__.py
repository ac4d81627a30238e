"""What was: samples, states, events and logs of the past, kept in `telemetry.db`."""
