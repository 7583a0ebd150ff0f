"""Import: whatever a lab already has becomes a corpus; one module for each layout."""
