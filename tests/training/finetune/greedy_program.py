"""What the trainer itself would say: run with an interpreter that has torch, as `… BASE ADAPTER_FOLDER < requests`.

A request is JSON: `{"texts": [prompts], "tokens": how many}`; the answer is the prompts' and the answers' tokens. Each
prompt is answered by itself, in float32, always with the likeliest token.
"""

import json
import sys
from hashlib import sha256
from pathlib import Path

import torch
from peft import PeftModel

from freehold.training.finetune.base_model import BaseModel
from freehold.training.finetune.protocol import Base


def main() -> None:
    """Answer the request."""
    path, adapter = Path(sys.argv[1]), sys.argv[2]
    request = json.load(sys.stdin)
    base = BaseModel.open(Base(name="base", path=path, sha256=sha256(path.read_bytes()).hexdigest()))
    model = PeftModel.from_pretrained(base.load(torch.float32), adapter).merge_and_unload().eval()
    prompts, answers = [], []
    for text in request["texts"]:
        ids = torch.tensor([base.tokenizer.beginning(text)])
        with torch.no_grad():
            made = model.generate(
                input_ids=ids,
                attention_mask=torch.ones_like(ids),
                max_new_tokens=request["tokens"],
                do_sample=False,
            )
        prompts.append(ids[0].tolist())
        answers.append(made[0, ids.shape[1] :].tolist())
    sys.stdout.write(json.dumps({"prompts": prompts, "answers": answers}))


if __name__ == "__main__":
    main()
