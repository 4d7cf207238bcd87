"""The work of each command, loaded by name when the command is called."""
