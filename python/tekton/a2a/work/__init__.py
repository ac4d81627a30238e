"""Tasks, conversations and who is told of them, in the file `work.db`."""
