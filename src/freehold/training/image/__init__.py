"""The starter painter: scenes that are rendered here, and the networks that learn to paint them from their captions.

In order: `objects`, `glyphs`, `scenes` and `rendering` make pictures with captions; `text_encoder`, `picture_encoder`,
`prior`, `draft`, `decoder` and `upsampler` are the networks; `scene_shards` writes what they learn from, `objective`
and `stages` tell the loop that every model is trained in (`freehold.training.pretrain`) what is to be learnt; `export`
writes what `freehold.engines.painter_model` reads; `recipes`, `worker` and `build` are the whole of it, `freehold train
image`.
"""
