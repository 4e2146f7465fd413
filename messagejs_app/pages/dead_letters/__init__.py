"""Dead letters: messages that were given up, to be sent once more or discarded."""
