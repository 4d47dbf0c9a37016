"""Character cards, and SillyTavern's chats with them, become messages and facts; a persona becomes a card."""
