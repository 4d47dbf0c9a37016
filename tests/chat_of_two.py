"""A chat of two made-up people, Ines and Tomo: eight days, on each a dialogue of four turns."""

SAID = ("did you water the fern?", "yes, twice", "and the basil?", "it sulks")


def chat_of_two() -> str:
    """Return it as an export."""
    return "\n".join(
        f"2023-12-{day:02} 19:{minute:02} - {('Ines', 'Tomo')[minute % 2]}: {text} {day}"
        for day in range(1, 9)
        for minute, text in enumerate(SAID)
    )
