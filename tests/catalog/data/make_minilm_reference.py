"""Make minilm_reference.json: 20 sentences and their vectors by the reference implementation.

Run once, with torch and transformers installed, on the model's folder (config.json, model.safetensors, tokenizer):

    python tests/catalog/data/make_minilm_reference.py FOLDER
"""

import json
import sys
from pathlib import Path

import torch
from transformers import AutoModel, AutoTokenizer  # type: ignore[import-not-found]

SENTENCES = [
    "The cat sits on the mat.",
    "A quick brown fox jumps over the lazy dog!",
    "How do I reset my password?",
    "Reset instructions were sent to your e-mail address.",
    "The invoice of 1,204.50 EUR is due on 2026-03-31.",
    "Photosynthesis turns light, water and carbon dioxide into sugar and oxygen.",
    "def add(a, b):\n    return a + b",
    "SELECT name FROM users WHERE id = 42;",
    "Zürich, São Paulo and Kraków are cities.",
    "NAÏVE CAFÉ RÉSUMÉ",
    "東京は日本の首都です。",
    "Привет, как дела?",
    "I can't believe it's not butter; don't you agree?",
    "An antidisestablishmentarianist's floccinaucinihilipilification.",
    "https://example.com/path?query=value#fragment",
    "Hello 🌍, smile 🙂!",
    "a",
    "The model runs on machines that the organization owns, and its weights never leave them.",
    "Water boils at 100 °C (212 °F) at sea level.",
    (
        "In the beginning there was a long sentence that went on and on, clause after clause, with commas, "
        "semicolons; and dashes, so that the tokenizer had something to do and the mean something to average."
    ),
]


def main() -> None:
    """Mean pooling over the tokens, then unit length."""
    folder = sys.argv[1]
    tokenizer = AutoTokenizer.from_pretrained(folder)
    model = AutoModel.from_pretrained(folder, dtype=torch.float32).eval()
    vectors = []
    for sentence in SENTENCES:
        batch = tokenizer(sentence, return_tensors="pt", truncation=True, max_length=512, padding=False)
        with torch.no_grad():
            hidden = model(**batch).last_hidden_state
        mask = batch["attention_mask"].unsqueeze(-1)
        mean = (hidden * mask).sum(1) / mask.sum(1)
        vectors.append([round(value, 7) for value in torch.nn.functional.normalize(mean, dim=1)[0].tolist()])
    target = Path(__file__).with_name("minilm_reference.json")
    rows = [json.dumps({"text": s, "vector": v}, ensure_ascii=False) for s, v in zip(SENTENCES, vectors, strict=True)]
    target.write_text("[\n" + ",\n".join(rows) + "\n]\n", encoding="utf-8")


if __name__ == "__main__":
    main()
