"""The bus on the port: who may say and hear what, and the sockets and event streams by which it is done."""
