"""Who may do what: users, log-ins, projects and their members, keys, the audit log."""
