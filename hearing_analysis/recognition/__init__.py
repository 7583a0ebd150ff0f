"""What a recogniser makes of clips, and how that compares with what was said."""
