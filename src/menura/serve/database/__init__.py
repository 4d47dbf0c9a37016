"""Chats, votes and owners become rows of one SQLite file; what is deleted leaves nothing in it."""
