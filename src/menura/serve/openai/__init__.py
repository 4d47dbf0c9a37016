"""Requests in OpenAI's form become requests to the engine, its events replies in that form."""
