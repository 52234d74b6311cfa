"""What the training process reads in a base: run with an interpreter that has torch, as `… BASE < request`.

A request is JSON, with any of `texts`, `question`, `examples` and `pairs`. The answer has the texts' tokens, the
log-probability of each token behind the question, what is read and what is learnt of the examples, in turn, and prompts
and answers of the pairs.
"""

import json
import sys
from collections.abc import Iterable
from hashlib import sha256
from itertools import groupby
from pathlib import Path
from typing import Any

import torch

from freehold.training.finetune.base_model import BaseModel
from freehold.training.finetune.conversations import IGNORED, Conversations
from freehold.training.finetune.protocol import Base


def main() -> None:
    """Answer the request."""
    path, request = Path(sys.argv[1]), json.load(sys.stdin)
    base = BaseModel.open(Base(name="base", path=path, sha256=sha256(path.read_bytes()).hexdigest()))
    made: dict[str, Any] = {"tokens": [base.tokenizer.beginning(text) for text in request.get("texts", ())]}
    if "question" in request:
        ids = torch.tensor([base.tokenizer.beginning(request["question"])])
        with torch.no_grad():
            logits = base.load(torch.float32).eval()(ids).logits
        made["logprobs"] = logits[0, -1].log_softmax(-1).tolist()
    conversations = Conversations(base)

    def text(tokens: Iterable[int]) -> str:
        return str(base.tokenizer.fast.decode(list(tokens)))

    made["learnt"] = []
    for example in request.get("examples", ()):
        found = conversations.learnt(example)
        marked = groupby(zip(found.ids, found.labels, strict=True), key=lambda pair: pair[1] != IGNORED)
        made["learnt"].append([[learnt, text(token for token, _ in tokens)] for learnt, tokens in marked])
    pairs = [conversations.pair(example) for example in request.get("pairs", ())]
    made["pairs"] = [[text(pair.prompt), text(pair.chosen), text(pair.rejected)] for pair in pairs]
    sys.stdout.write(json.dumps(made))


if __name__ == "__main__":
    main()
