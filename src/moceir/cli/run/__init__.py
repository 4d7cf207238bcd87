"""What each command does: one module per command, imported when the command is called."""
