"""The language of rules and filters: text → tokens (`lexer`) → tree (`parser`, `tree`) → checked against the schemas
(`types`) → storage query (`compile`, `resolve`).
"""
