#!/bin/sh
# Makes the secrets of compose.yaml, once: what is there stays.
set -eu
cd "$(dirname "$0")"
umask 077
mkdir -p secrets
made() { [ -s "secrets/$1" ] || { cat >"secrets/$1.new" && mv "secrets/$1.new" "secrets/$1"; }; }
head -c 24 /dev/urandom | od -An -tx1 | tr -d ' \n' | made database_password
printf 'postgresql://freehold:%s@database/freehold' "$(cat secrets/database_password)" | made database_url
head -c 32 /dev/urandom | od -An -tx1 | tr -d ' \n' | made master_key
chmod 444 secrets/*  # containers read them as another user; the folder lets nobody else in
