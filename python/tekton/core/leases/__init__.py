"""What the heartbeat monitor is made of: the clock of leases, and who is to be believed."""
