"""Every counter: how often a key, a project, a person or an address may do something."""
