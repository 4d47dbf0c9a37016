"""Real chats become dialogues: exports of messengers, cards, training sets, tables and scripts."""
