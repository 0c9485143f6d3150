#!/bin/sh
# Makes what compose.yaml calls secrets, once, in compose/secrets: an authority, certificates, passwords, the master key. Needs openssl.
set -eu
cd "$(dirname "$0")"
test ! -e secrets || { echo "compose/secrets is there already; nothing was changed" >&2; exit 1; }
umask 077
mkdir secrets
cd secrets

openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 3650 -subj "/CN=Claviger compose" \
    -addext basicConstraints=critical,CA:TRUE -addext keyUsage=critical,keyCertSign -keyout ca.key -out ca.crt 2>/dev/null
certificate() { # name, subjectAltName
    openssl req -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -subj "/CN=$1" -keyout "$1.key" -out "$1.csr" 2>/dev/null
    printf 'subjectAltName=%s\nextendedKeyUsage=serverAuth\nbasicConstraints=CA:FALSE\n' "$2" >extensions
    openssl x509 -req -in "$1.csr" -CA ca.crt -CAkey ca.key -CAcreateserial -days 825 -extfile extensions -out "$1.crt" 2>/dev/null
    rm "$1.csr" extensions
}
certificate claviger DNS:localhost,DNS:claviger-1,DNS:claviger-2,DNS:claviger-3,IP:127.0.0.1
certificate postgres DNS:postgres
certificate redis DNS:redis

for name in master-key bootstrap-token postgres-password redis-password; do
    openssl rand -hex 32 | tr -d '\n' >"$name"
done
printf 'postgres://claviger:%s@postgres/claviger?sslmode=verify-full' "$(cat postgres-password)" >database-url
printf 'rediss://:%s@redis:6379' "$(cat redis-password)" >redis-url

# Containers see these files with the modes that they have here, and run as other users. The folder keeps everybody else out.
chmod 0444 ./*
chmod 0400 ca.key
