"""Who is there: sign-in through OpenID providers and with passwords, sessions, and JWTs as bearer tokens."""
