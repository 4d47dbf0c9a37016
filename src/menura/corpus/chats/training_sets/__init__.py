"""Files that language models are trained on become messages, in the dialogues that the file has."""
