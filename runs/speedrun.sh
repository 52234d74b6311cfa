#!/usr/bin/env bash
# From a text to a model of your own that answers, in front of your eyes: tokenizer → pre-train → fine-tune → preferences →
# evaluate → deploy → chat. Each step is a command that you could type, and is printed before it runs. Less than 15
# minutes on two cores, with a play or any other text of a megabyte:
#
#   TEXT=play.txt runs/speedrun.sh
#
# On eight GPUs, with a text that is worth it, and DEPTH as the one dial:
#
#   TEXT=corpus.txt RECIPE=depth DEPTH=20 VOCABULARY=32768 DEVICES=8 runs/speedrun.sh
#
# Stopped or killed, it goes on where it was when it is called again. The folder OUT then has the tokenizer, the data with
# its card, the run with its logs and checkpoints, the model, the evaluation and the home of a server that serves it.
# Needs `make setup-train`. See docs/tutorial/train-a-model-from-nothing.md.
set -euo pipefail
cd "$(dirname "$0")/.."

OUT=${OUT:-speedrun}               # where everything goes
TEXT=${TEXT:-}                     # what it learns from
LICENCE=${LICENCE:-not stated}     # of the text
VOCABULARY=${VOCABULARY:-1024}     # tokens
RECIPE=${RECIPE:-speedrun}         # a recipe's name; with DEPTH, depth
DEPTH=${DEPTH:-}                   # layers of the recipe "depth"
DEVICES=${DEVICES:-1}              # GPUs, or processes
NAME=${NAME:-speedrun}             # of the model
PORT=${PORT:-8123}                 # where it is served
FREEHOLD=${FREEHOLD:-$(command -v freehold || echo .venv/bin/freehold)}

if [[ ! -r $TEXT ]]; then
  echo "Name a text, as TEXT=FILE: a play or a book of a megabyte or so, in UTF-8." >&2
  echo "Tiny Shakespeare is the usual one (1.1 MB, public domain):" >&2
  echo "  https://raw.githubusercontent.com/karpathy/char-rnn/master/data/tinyshakespeare/input.txt" >&2
  exit 2
fi
mkdir -p "$OUT/done"
OUT=$(cd "$OUT" && pwd)

freehold() { printf '\n$ freehold %s\n' "$*" >&2; "$FREEHOLD" "$@"; }
once() { local mark=$OUT/done/$1; shift; [[ -e $mark ]] || { "$@"; touch "$mark"; }; }  # once NAME COMMAND…
field() { sed -n "s/.*\"$1\": *\"\([^\"]*\)\".*/\1/p" "$2" | head -n 1; }             # field NAME FILE: a text of its JSON

# From the text to a base model.
pretrain() {
  freehold train pretrain --data "$OUT/data" --recipe "$RECIPE${DEPTH:+-$DEPTH}" --devices "$DEVICES" --out "$OUT/run" \
    $([[ -d $OUT/run ]] && echo --resume)
}
once tokenizer freehold train tokenizer --text "$TEXT" --vocabulary "$VOCABULARY" --out "$OUT/tokenizer"
once conversations freehold train conversations --text "$TEXT" --name answers --out "$OUT/conversations"
once data freehold train data --text "$TEXT" --licence "$LICENCE" --tokenizer "$OUT/tokenizer" --validation-share 0.1 \
  --out "$OUT/data"
once pretrain pretrain
once export freehold train export "$OUT/run" --out "$OUT/base" --name "$NAME-base" --licence "$LICENCE"

# Into the catalog, and into service: a deployment that takes another model only if it was shown to answer.
export FREEHOLD_HOME=$OUT/home
cat >"$OUT/freehold.toml" <<TOML
[server]
starter = false
port = $PORT

[fine_tuning]
threads = $(nproc)

[[content_filter]]
name = "told"    # verses about murder are annotated, and not refused
hate = { prompt = { action = "annotate" }, completion = { action = "annotate" } }
sexual = { prompt = { action = "annotate" }, completion = { action = "annotate" } }
violence = { prompt = { action = "annotate" }, completion = { action = "annotate" } }
self_harm = { prompt = { action = "annotate" }, completion = { action = "annotate" } }
TOML
freehold serve --config "$OUT/freehold.toml" >>"$OUT/server.log" 2>&1 &
server=$!
trap 'kill $server 2>/dev/null && wait $server' EXIT
until curl -fs "http://127.0.0.1:$PORT/health/ready" >/dev/null; do
  kill -0 $server 2>/dev/null || { tail -n 5 "$OUT/server.log" >&2; exit 1; }
  sleep 0.5
done
once pull freehold pull "file://$OUT/base" --name "$NAME-base" --sha256 "$(field weights_sha256 "$OUT/base/freehold-training.json")"
once deploy-base freehold deployments create "$NAME-base" --model "$NAME-base" --content-filter told
once deploy freehold deployments create "$NAME" --model "$NAME-base" --content-filter told --promote-if "answers >= base + 0.1"

# Taught to answer, then to prefer the answer that belongs there.
tune() {  # tune STEP OPTION…: the model's name is in $tuned
  local step=$1; shift
  [[ -s $OUT/$step.json ]] || { freehold tune start --json "$@" >"$OUT/$step.part"; mv "$OUT/$step.part" "$OUT/$step.json"; }
  freehold jobs watch "$(field id "$OUT/$step.json")"
  "$FREEHOLD" jobs show --json "$(field id "$OUT/$step.json")" >"$OUT/$step.done.json"
  tuned=$(field fine_tuned_model "$OUT/$step.done.json")
}
cd "$OUT/conversations"
tune supervised --model "$NAME-base" --suffix answers --training training.jsonl --validation validation.jsonl
supervised=$tuned
tune preferences --model "$supervised" --suffix "$NAME" --method dpo \
  --training preferences-training.jsonl --validation preferences-validation.jsonl

# What came of it, on what was held out; in service only if it is better.
once evaluate freehold eval run evaluation.toml --model "$NAME-base" --model "$supervised" --model "$tuned" \
  --chart "$OUT/evaluation.svg" | tee -a "$OUT/evaluation.txt"
once promote freehold deployments promote "$NAME" --to "$tuned"
freehold lineage "$tuned" --verify
freehold chat --model "$NAME" --max-tokens 120 "What say you of the king?"

echo -e "\nThe same over HTTP, as any client of OpenAI's API asks it:"
curl -fsS "http://127.0.0.1:$PORT/v1/chat/completions" -H "Authorization: Bearer $(cat "$FREEHOLD_HOME/admin.key")" \
  -H "Content-Type: application/json" \
  -d "{\"model\": \"$NAME\", \"max_tokens\": 120, \"messages\": [{\"role\": \"user\", \"content\": \"What say you of the king?\"}]}"
echo -e "\n\nServe it again with: freehold serve --home $OUT/home --config $OUT/freehold.toml"
