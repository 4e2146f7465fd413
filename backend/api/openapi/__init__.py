"""The OpenAPI document, its links and deprecations."""
