"""How the product is started, watched and stopped."""
