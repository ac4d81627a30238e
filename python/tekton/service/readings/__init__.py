"""What the metrics of the control plane are read from: a module for each subsystem, put together in `system`."""
