"""Dead letters: messages that were given up, to be sent again or discarded."""
