"""A process that writes messages and says which are kept, until it is killed."""

import sys

from menura.serve.database.chats import NewMessage, add_message
from menura.serve.database.database import Database


def main(chat: str, begin: int) -> None:
    database = Database()
    print("ready", flush=True)
    for number in range(begin, begin + 1_000_000):
        add_message(database, "", chat, NewMessage("user", f"row {number}"))
        print(number, flush=True)


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]))
