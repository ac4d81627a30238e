"""What the start-up coordinator is made of: plans, jobs, places, and what stands in the way."""
