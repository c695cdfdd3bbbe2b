"""Plumbing that every FastCMS process shares. No product noun lives here."""
