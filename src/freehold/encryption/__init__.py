"""Content that is kept is encrypted here: master keys, the content keys under them, and the cipher that uses these."""
