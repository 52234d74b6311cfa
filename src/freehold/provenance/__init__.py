"""Where a picture came from: the signed manifest (C2PA) and the mark (IPTC) in it, written and read back."""
