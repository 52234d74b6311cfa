"""The starter painter: scenes that are rendered here, and the networks that learn to paint them from their captions.

In order: `objects`, `glyphs`, `scenes` and `rendering` make pictures with captions; `text_encoder`, `picture_encoder`,
`prior`, `draft`, `decoder` and `upsampler` are the networks; `data`, `loop` and `stages` train them; `export` writes
what `freehold.engines.painter_model` reads; `recipe` and `build` are the whole of it, `freehold train image`.
"""
