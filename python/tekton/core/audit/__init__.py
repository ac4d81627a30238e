"""The audit log: who changed what, when and from where, in a chain of hashes that shows what was tampered with."""
