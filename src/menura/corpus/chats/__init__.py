"""Real chats become dialogues: exports of messengers, cards, training sets and transcripts."""
