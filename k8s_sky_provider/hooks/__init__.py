"""The hook of the connection type ``skypilot``."""
