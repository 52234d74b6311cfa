"""Fine-tuning of language models: what a data set may hold, and the process that trains.

`dataset` and `protocol` import no torch, so the server uses them; everything else runs in the training process only.
"""
