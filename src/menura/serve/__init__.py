"""Requests over HTTP become replies, of thousands of personas from one process."""
