"""The dashboard: shows, never decides."""

from messagejs_app.text_guard import install_guard

# Here, so that none of our modules can make a page before it.
install_guard()
