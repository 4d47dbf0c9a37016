"""Files of a corpus as it is published, archives too, become files that a reader takes, checked and counted."""
