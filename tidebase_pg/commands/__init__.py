"""The commands of the CLI, one module per topic; each names what it adds in `COMMANDS`."""
