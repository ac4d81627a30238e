"""What the machine and the processes on it use: the readings, and what is made of them."""
