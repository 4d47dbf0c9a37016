"""Replies of several systems become blind sheets for people, and their votes become scores (no torch)."""
