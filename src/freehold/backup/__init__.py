"""Backups of a home: made while it serves, verified, and restored whole or not at all."""
