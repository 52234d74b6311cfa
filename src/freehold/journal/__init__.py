"""The journal: what happened, in a chain of records that can be verified; see docs/reference/journal.md."""
