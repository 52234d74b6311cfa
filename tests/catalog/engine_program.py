"""A program: answer with xllamacpp what stands on stdin as JSON, on stdout as JSON. Never imported by a test.

`engine_program.py embed MODEL` takes texts and answers with their vectors; `engine_program.py complete MODEL` takes
request bodies of /completions and answers with what the engine answered.
"""

import json
import sys

import xllamacpp


def main() -> None:
    """Serve in this process and ask."""
    task, model = sys.argv[1:]
    parameters = xllamacpp.CommonParams()
    parameters.model.path = model
    parameters.cpuparams.n_threads = 2
    parameters.n_parallel = 1
    parameters.n_ctx = 512
    parameters.warmup = False
    if task == "embed":
        parameters.embedding = True
        parameters.n_batch = parameters.n_ubatch = 512
    server = xllamacpp.Server(parameters)
    asked = json.load(sys.stdin)
    if task == "embed":
        answers = [server.handle_embeddings({"input": [text]})["data"][0]["embedding"] for text in asked]
    else:
        answers = [server.handle_completions(body) for body in asked]
    json.dump(answers, sys.stdout)


if __name__ == "__main__":
    main()
