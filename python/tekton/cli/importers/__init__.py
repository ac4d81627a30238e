"""What other tools call their configuration, made into components: one file per tool."""
