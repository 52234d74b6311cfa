"""What the training process reads in a base: run with an interpreter that has torch, as `… BASE < request`.

A request is JSON: `{"texts": […], "question": text}`; the answer has the texts' tokens, and the log-probability of each
token behind the question.
"""

import json
import sys
from hashlib import sha256
from pathlib import Path

import torch

from freehold.training.finetune.base_model import BaseModel
from freehold.training.finetune.protocol import Base


def main() -> None:
    """Answer the request."""
    path, request = Path(sys.argv[1]), json.load(sys.stdin)
    base = BaseModel.open(Base(name="base", path=path, sha256=sha256(path.read_bytes()).hexdigest()))
    tokens = [base.tokenizer.beginning(text) for text in request["texts"]]
    with torch.no_grad():
        logits = base.load(torch.float32).eval()(torch.tensor([base.tokenizer.beginning(request["question"])])).logits
    sys.stdout.write(json.dumps({"tokens": tokens, "logprobs": logits[0, -1].log_softmax(-1).tolist()}))


if __name__ == "__main__":
    main()
