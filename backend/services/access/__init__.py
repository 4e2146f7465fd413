"""Who may do what: principals, roles and permissions, and the audit log."""
