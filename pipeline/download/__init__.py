"""Archives of the Mozilla Data Collective: the service, the transfer, the command."""
