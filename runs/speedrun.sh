#!/usr/bin/env bash
# From a text to a model of your own that answers: tokenizer → pre-train → fine-tune → preferences → evaluate → deploy → chat.
# Each step is a command that you could type, and is printed before it runs. Less than 15 minutes on two cores, with a
# play or any other text of a megabyte:
#
#   TEXT=play.txt runs/speedrun.sh
#
# On eight GPUs, with a corpus that is worth it, and the number of layers as the one dial:
#
#   CORPUS="--parquet corpus/*.parquet" TEXT=novels.txt VOCABULARY=32768 RECIPE=depth-20 DEVICES=8 runs/speedrun.sh
#
# Stopped or killed, it goes on where it was when it is called again; with another TUNE it tunes the same base anew, evaluates what
# comes of that, and promotes it if it is better. The folder OUT then has the tokenizer, the data with their card, the run with its
# log and checkpoints, the base model, the evaluation, and the home of a server that serves it.
# Needs `make setup-train`. docs/tutorial/train-a-model-from-nothing.md goes through it.
set -euo pipefail

OUT=${OUT:-speedrun}                    # where everything goes
TEXT=${TEXT:-}                          # what it learns from, and what its conversations are made of
CORPUS=${CORPUS:-}                      # what it learns from instead: options of freehold train data
LICENCE=${LICENCE:-not stated}          # of the text
VOCABULARY=${VOCABULARY:-1024}          # tokens
RECIPE=${RECIPE:-speedrun}              # what is trained: see freehold train pretrain --help
DEVICES=${DEVICES:-1}                   # GPUs, or processes
NAME=${NAME:-speedrun}                  # of the model
PORT=${PORT:-8123}                      # where it is served
ASK=${ASK:-What say you of the king?}   # in the end
PRETRAIN=${PRETRAIN:-}                  # more options, such as --set training.steps=500
TUNE=${TUNE---epochs 1}                 # more options of both fine-tunings
FREEHOLD=${FREEHOLD:-$(command -v freehold || echo "$(dirname "$0")/../.venv/bin/freehold")}

if [[ ! -r $TEXT ]]; then
  echo "Name a text, as TEXT=FILE: a play or a book of a megabyte or so, in UTF-8. Tiny Shakespeare is the usual one:" >&2
  echo "https://raw.githubusercontent.com/karpathy/char-rnn/master/data/tinyshakespeare/input.txt" >&2
  exit 2
fi
if ! command -v curl >/dev/null || ! "$FREEHOLD" version >/dev/null; then
  echo "This needs curl, and Freehold: make setup setup-train, or say where it is, as FREEHOLD=FILE." >&2
  exit 2
fi
if (exec 3<>"/dev/tcp/127.0.0.1/$PORT") 2>/dev/null; then
  echo "Something listens on port $PORT already, perhaps a server of an earlier run; end it, or say another, as PORT=8124." >&2
  exit 2
fi
corpus=(--text "$TEXT")
[[ -z $CORPUS ]] || read -ra corpus <<<"$CORPUS"
mkdir -p "$OUT/done"
asked="text $(cksum <"$TEXT"), corpus $CORPUS, vocabulary $VOCABULARY, recipe $RECIPE $PRETRAIN, name $NAME, licence $LICENCE"
if [[ -e $OUT/done/tokenizer && $(cat "$OUT/asked") != "$asked" ]]; then
  printf '%s holds a run of something else; say another folder, as OUT=FOLDER.\nthere: %s\nhere:  %s\n' \
    "$OUT" "$(cat "$OUT/asked")" "$asked" >&2
  exit 2
fi
echo "$asked" >"$OUT/asked"
OUT=$(realpath "$OUT") FREEHOLD=$(realpath "$FREEHOLD")
export FREEHOLD_HOME=$OUT/home

freehold() { printf '\n$ freehold %s\n' "$*" >&2; "$FREEHOLD" "$@"; }
once() { local mark=$OUT/done/$1; shift; [[ -e $mark ]] || { "$@" && touch "$mark"; }; } # once NAME COMMAND…
field() { sed -n "s/.*\"$1\": *\"\([^\"]*\)\".*/\1/p" "$2" | head -n 1; }              # field NAME FILE: of its JSON

# 1. From the text to a base model. What is interrupted goes on: the data and the training from where they were.
once tokenizer freehold train tokenizer "${corpus[@]}" --vocabulary "$VOCABULARY" --out "$OUT/tokenizer"
once conversations freehold train conversations --text "$TEXT" --name answers --out "$OUT/conversations"
once data freehold train data "${corpus[@]}" --also "$OUT/conversations/pretraining.jsonl" --licence "$LICENCE" \
  --tokenizer "$OUT/tokenizer" --validation-share 0.1 --out "$OUT/data"
cd "$OUT"
once pretrain freehold train pretrain --data data --recipe "$RECIPE" --devices "$DEVICES" --out run --resume $PRETRAIN
once export freehold train export run --out base --name "$NAME-base" --licence "$LICENCE"

# 2. Into service. The deployment takes another model only if that answers better.
cat >freehold.toml <<TOML
[server]
starter = false
port = $PORT

[fine_tuning]
threads = $(nproc)

[[content_filter]]
name = "told"    # verses of murder are annotated, and not refused
hate = { prompt = { action = "annotate" }, completion = { action = "annotate" } }
sexual = { prompt = { action = "annotate" }, completion = { action = "annotate" } }
violence = { prompt = { action = "annotate" }, completion = { action = "annotate" } }
self_harm = { prompt = { action = "annotate" }, completion = { action = "annotate" } }
TOML
printf '\n$ freehold serve --config freehold.toml &\n' >&2
"$FREEHOLD" serve --config freehold.toml >>server.log 2>&1 &
server=$!
trap 'kill $server 2>/dev/null; wait $server 2>/dev/null || true' EXIT
until curl -fs "http://127.0.0.1:$PORT/health/ready" >/dev/null; do
  kill -0 $server 2>/dev/null || { tail -n 5 server.log >&2; exit 1; }
  sleep 0.2
done
once pull freehold pull "file://$OUT/base" --name "$NAME-base" --sha256 "$(field weights_sha256 base/freehold-training.json)"
once deploy-base freehold deployments create "$NAME-base" --model "$NAME-base" --content-filter told
once deploy freehold deployments create "$NAME" --model "$NAME-base" --content-filter told --promote-if "answers > base"

# 3. Taught to answer, and then to prefer an answer to a jumble of its words.
tune() { # tune STEP OPTION…: begins a job, or finds the one that these options began, waits, and sets $tuned to the model's name
  local job=$1.json asked="$TUNE ${*:2}"
  shift
  if [[ -s $job && $(cat "$job.asked" 2>/dev/null) != "$asked" ]]; then # other options: the job of before is not theirs
    echo "The options of ${job%.json} have changed, so another job begins." >&2
    "$FREEHOLD" jobs cancel "$(field id "$job")" >/dev/null 2>&1 || true # one that has ended cannot be
    mv "$job" "$job.before"
  fi
  [[ -s $job ]] || { freehold tune start --json $TUNE "$@" >"$job.part"; echo "$asked" >"$job.asked"; mv "$job.part" "$job"; }
  freehold jobs watch "$(field id "$job")" || true
  "$FREEHOLD" jobs show --json "$(field id "$job")" >"$job.ended"
  tuned=$(field fine_tuned_model "$job.ended")
  case $(field status "$job.ended") in failed | cancelled) mv "$job" "$job.failed" ;; esac # called again, it begins another
  [[ -n $tuned ]] || exit 1
}
tune supervised --model "$NAME-base" --suffix answers --learning-rate-multiplier 4 \
  --training conversations/training.jsonl --validation conversations/validation.jsonl
answers=$tuned
tune preferences --method dpo --model "$answers" --suffix prefers \
  --training conversations/preferences-training.jsonl --validation conversations/preferences-validation.jsonl

# 4. What came of it, on what was held out. In service only if it is better.
evaluate() {
  freehold eval run conversations/evaluation.toml --model "$NAME-base" --model "$answers" --model "$tuned" \
    --chart evaluation.svg | tee evaluation.txt
}
once "evaluate $tuned" evaluate
once "promote $tuned" freehold deployments promote "$NAME" --to "$tuned" || echo "It answers no better, so '$NAME' stays as it was."
freehold lineage "$tuned" --verify
freehold chat --model "$NAME" --max-tokens 100 "$ASK"

echo -e "\nThe same through the API, as any client of OpenAI's asks it:"
curl -fsS "http://127.0.0.1:$PORT/v1/chat/completions" \
  -H "Authorization: Bearer $(cat home/admin.key)" -H "Content-Type: application/json" \
  -d "{\"model\": \"$NAME\", \"max_tokens\": 100, \"messages\": [{\"role\": \"user\", \"content\": \"$ASK\"}]}"
echo -e "\n\nServe it again with: freehold serve --home $OUT/home --config $OUT/freehold.toml"
