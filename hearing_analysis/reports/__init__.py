"""What an analysis says: its table read, counted, compared, tested and drawn."""
