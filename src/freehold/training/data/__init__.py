"""From raw text to tokens that a training reads: tokenizers, duplicates, shards, and the data card."""
