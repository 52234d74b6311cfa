"""What the starter painter can do, known to its process and to whoever asks before that has started."""

SIZES = ("256x256", "512x512", "1024x1024")
FEATURES = ("images", "image_edits", "image_variations", "image_quality", "seed")
