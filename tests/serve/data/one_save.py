"""A process that saves one persona and prints the code of what went wrong; imports little, as it is run often."""

import sys

from plain_persona import made_persona

from menura.artefacts import persona_store
from menura.errors import MenuraError

if __name__ == "__main__":
    try:
        persona_store.save(made_persona("anna", facts=("new",)))
    except MenuraError as error:
        print(error.problems[0].code)
        sys.exit(error.exit_code)
