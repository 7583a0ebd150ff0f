"""Hearing-loss simulation: profiles, the mask they make, and the stage that applies it."""
