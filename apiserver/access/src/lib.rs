//! Who may do what: certificates, tokens, authentication and role-based authorization.
