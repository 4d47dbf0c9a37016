"""The readers of messengers' exports, in the order in which a file is tried with them."""

from menura.corpus.chats.messengers import (
    discord,
    discord_text,
    facebook,
    imessage,
    irc,
    line_chat,
    pasted,
    slack,
    stamped_lines,
    telegram,
    telegram_html,
    whatsapp,
)
from menura.corpus.chats.reading import ChatReader

MESSENGERS: tuple[ChatReader, ...] = (
    ChatReader("telegram", "Telegram export (JSON)", telegram.looks_like, telegram.messages, timed=True),
    ChatReader("telegram_html", "Telegram export (HTML)", telegram_html.looks_like, telegram_html.messages, timed=True),
    ChatReader("discord", "DiscordChatExporter (JSON)", discord.looks_like, discord.messages, timed=True),
    ChatReader("discord_text", "DiscordChatExporter (TXT)", discord_text.looks_like, discord_text.messages, timed=True),
    ChatReader(
        "discord_csv", "DiscordChatExporter (CSV)", discord_text.looks_like_csv, discord_text.messages_csv, timed=True
    ),
    ChatReader("messenger", "Messenger or Instagram export", facebook.looks_like, facebook.messages, timed=True),
    ChatReader("slack", "Slack export", slack.looks_like, slack.messages, timed=True),
    ChatReader("imessage", "imessage-exporter (TXT)", imessage.looks_like, imessage.messages, timed=True),
    ChatReader("line", "LINE export", line_chat.looks_like, line_chat.messages, timed=True),
    ChatReader("whatsapp", "WhatsApp export", whatsapp.looks_like, whatsapp.messages, timed=True),
    ChatReader("irc", "IRC log", irc.looks_like, irc.messages, timed=True),
    ChatReader(
        "stamped", "lines with date, time and name", stamped_lines.looks_like, stamped_lines.messages, timed=True
    ),
    ChatReader("pasted", "names with times, then text", pasted.looks_like, pasted.messages, timed=True),
)
# What a file nearly is that none of all formats fits.
NEARLY = (telegram.nearly, telegram_html.nearly, discord.nearly, slack.nearly, whatsapp.nearly)
