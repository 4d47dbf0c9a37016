"""``python -m menura`` is ``menura``."""

from menura.cli.main import main

if __name__ == "__main__":
    main()
