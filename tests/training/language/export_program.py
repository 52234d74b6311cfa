"""What the trained model itself would say: run with an interpreter that has torch, as `… FOLDER < request`.

The request is JSON: `{"prompts": [texts], "tokens": how many}`. A tokenizer and a model with random weights are made,
and written into FOLDER; the answer is the prompts' tokens, and the likeliest ones that follow them.
"""

import json
import sys
from pathlib import Path

import torch

from freehold.training.data.settings import TokenizerSettings
from freehold.training.data.tokenizer import train_tokenizer
from freehold.training.language.llama_folder import write_llama_folder
from freehold.training.language.model import GPT
from freehold.training.language.recipes import ModelRecipe

TEXT = "It was the best of times, it was the worst of times: the age of wisdom, 1859, the age of foolishness.\n" * 20


def main() -> None:
    """Make the model, and answer."""
    folder = Path(sys.argv[1])
    request = json.load(sys.stdin)
    tokenizer = train_tokenizer([TEXT], TokenizerSettings(vocabulary=300), folder / "tokenizer")
    model = GPT(
        ModelRecipe(
            vocabulary=tokenizer.vocabulary, layers=3, width=64, heads=4, kv_heads=2, feed_forward=96, context=256
        )
    ).eval()
    model.initialise(7)
    with torch.no_grad():
        for weight in model.parameters():
            weight.mul_(8.0 if weight.dim() > 1 else 1.0)  # so that the likeliest token is likely
        (folder / "model").mkdir()
        write_llama_folder(model, folder / "tokenizer", folder / "model", "float32")
        prompts = [tokenizer.encode([text])[0].tolist() for text in request["prompts"]]
        answers = []
        for prompt in prompts:
            tokens = list(prompt)
            for _ in range(request["tokens"]):
                tokens.append(int(model(torch.tensor([tokens]))[0, -1].argmax()))
            answers.append(tokens[len(prompt) :])
    sys.stdout.write(json.dumps({"prompts": prompts, "answers": answers}))


if __name__ == "__main__":
    main()
