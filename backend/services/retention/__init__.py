"""What is forgotten, and when: content, messages, and what hangs on them."""
