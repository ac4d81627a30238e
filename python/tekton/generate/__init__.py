"""A system of components as others run it: an image, Docker Compose, Kubernetes, systemd. One file for each."""
