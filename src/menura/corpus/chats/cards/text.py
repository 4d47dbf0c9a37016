"""The text of a character card becomes facts and example turns, with names where placeholders stood."""

import re
from dataclasses import dataclass

USER = "user"  # a card has no name for whoever talks to its character
Turns = tuple[tuple[str, str], ...]  # (speaker, text)

LINE_BREAK = re.compile(r"\r\n|\r|\n")
BLOCK = re.compile("<start>", re.IGNORECASE)
CHARACTER_MARK = r"\{\{\s*char\s*\}\}|<char>|<bot>"
USER_MARK = r"\{\{\s*user\s*\}\}|<user>"
PLACEHOLDER = re.compile(f"({CHARACTER_MARK})|{USER_MARK}", re.IGNORECASE)


@dataclass
class CardText:
    """Replaces placeholders by ``character`` and "user", and counts them; ``names`` are all that the card calls it."""

    character: str
    names: tuple[str, ...]
    replaced: int = 0
    left_out: int = 0  # lines of examples that stand before anybody speaks

    def text(self, text: str) -> str:
        """Return a text with names where placeholders stood."""
        text, count = PLACEHOLDER.subn(lambda match: self.character if match[1] else USER, text)
        self.replaced += count
        return text

    def facts(self, text: str) -> list[str]:
        """Return one fact for each line that is not blank."""
        return [line.strip() for line in LINE_BREAK.split(self.text(text)) if line.strip()]

    def examples(self, text: str) -> tuple[Turns, ...]:
        """Return the ``<START>`` blocks in which somebody says something."""
        # Longest first: of the names "Tom" and "Tom: gardener" the longer one is meant where both fit.
        names = "|".join(re.escape(name) for name in sorted(self.names, key=len, reverse=True))
        speaker = re.compile(
            rf"\s*(?:(?P<character>{CHARACTER_MARK}|{names})|{USER_MARK}|{USER})\s*[:：]", re.IGNORECASE
        )
        blocks = (self._turns(LINE_BREAK.split(block), speaker) for block in BLOCK.split(text))
        return tuple(block for block in blocks if block)

    def _turns(self, lines: list[str], speaker: re.Pattern[str]) -> Turns:
        turns: list[tuple[str, list[str]]] = []
        for line in lines:
            start = speaker.match(line)
            if start:
                self.text(start[0])  # counts a placeholder that stood for the name
                turns.append((self.character if start["character"] else USER, [self.text(line[start.end() :])]))
            elif turns:
                turns[-1][1].append(self.text(line))
            else:
                self.left_out += bool(line.strip())
        spoken = [(name, "\n".join(line.rstrip() for line in lines).strip()) for name, lines in turns]
        return tuple((name, text) for name, text in spoken if text)


def example_text(examples: tuple[Turns, ...], name: str) -> str:
    """Return dialogues as ``<START>`` blocks: who is called ``name`` is ``{{char}}``, everyone else ``{{user}}``."""
    lines: list[str] = []
    for turns in examples:
        lines.append("<START>")
        lines += ["{{char}}: " + text if speaker == name else "{{user}}: " + text for speaker, text in turns]
    return "\n".join(lines)
