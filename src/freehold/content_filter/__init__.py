"""What a text does to whom: detectors, policies made of them, and the hold-back of streams."""
