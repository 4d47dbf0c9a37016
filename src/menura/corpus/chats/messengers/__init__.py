"""Exports of messengers, logs and pasted chats become messages with names and times; one module a program."""
