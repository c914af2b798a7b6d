"""The command line ``ctspectspine``: options, commands, and what they print."""
