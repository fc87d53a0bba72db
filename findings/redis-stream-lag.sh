#!/bin/sh
# Redis 7.0.15: the lag of a consumer group counts messages that trimming has taken away, for ever.
#
# XADD with MAXLEN, or XTRIM, keeps a stream short; a reader that is too slow misses what goes. XINFO GROUPS
# is there to tell how many entries a group still has to read. It goes on counting those that are gone: of an
# empty stream, 7 are said to be left, and after the group has read every new message the number is the same.
# An alarm at a lag never ends, and a reader that waits for 0 waits for ever. By Redis's manual the lag is
# empty after such a trimming. Nor does XINFO STREAM tell of it: max-deleted-entry-id stays at 0-0. Remedy:
# compare recorded-first-entry-id with what the group has read; XGROUP SETID with ENTRIESREAD makes the lag
# right again.
#
# Debian 12's packages, unpacked in a temporary folder and run there. Needs apt and Debian 12.
set -eu
tmp=$(mktemp -d)
server=
trap '[ -z "$server" ] || kill $server; rm -rf "$tmp"' EXIT
cd "$tmp"
for package in redis-tools=5:7.0.15-1~deb12u10 liblzf1=3.6-3 libjemalloc2=5.3.0-1 liblua5.1-0=5.1.5-9 \
    lua-cjson=2.1.0+dfsg-2.2 lua-bitop=1.0.2-7 libhiredis0.14=0.14.1-3; do
    apt-get -q download "$package" >log 2>&1 || { tail -3 log; exit 2; }
done
for package in *.deb; do dpkg-deb -x "$package" root; done

# The server is in the package of the tools: as the program that checks files, under another name.
export LD_LIBRARY_PATH="$tmp/root/usr/lib/x86_64-linux-gnu"
ln -s redis-check-rdb root/usr/bin/redis-server
root/usr/bin/redis-server --port 0 --unixsocket "$tmp/socket" --save '' --appendonly no >log 2>&1 &
server=$!
redis() { root/usr/bin/redis-cli -s "$tmp/socket" "$@"; }
for try in 1 2 3 4 5 6 7 8 9 10; do
    [ "$(redis ping 2>&1)" != PONG ] || break
    sleep 0.5
done

behind() { sed -n "/^$1\$/{n;p;}"; }
say() {
    echo "$1: $(redis xlen stream) in the stream, the group's lag is '$(redis xinfo groups stream | behind lag)'," \
        "max-deleted-entry-id $(redis xinfo stream stream | behind max-deleted-entry-id)"
}
{
    redis info server | tr -d '\r' | sed -n 's/^redis_version:/Redis /p'
    for n in 1 2 3 4 5 6 7 8 9 10; do redis xadd stream "$n-0" n "$n"; done >log
    redis xgroup create stream group 0 >log
    redis xreadgroup group group reader count 3 noack streams stream '>' >log
    say 'ten written, three read'
    redis xtrim stream maxlen 0 >log
    say 'trimmed'
    redis xadd stream 11-0 n 11 >log
    redis xadd stream 12-0 n 12 >log
    redis xreadgroup group group reader noack streams stream '>' >log
    say 'two more written and read'
    redis xgroup setid stream group 12-0 entriesread 12 >log
    say 'after XGROUP SETID'
} | tee said

grep -q '^Redis 7\.0\.15$' said
grep -q "^ten written, three read: 10 in the stream, the group's lag is '7', max-deleted-entry-id 0-0$" said
grep -q "^trimmed: 0 in the stream, the group's lag is '7', max-deleted-entry-id 0-0$" said
grep -q "^two more written and read: 2 in the stream, the group's lag is '7', max-deleted-entry-id 0-0$" said
grep -q "^after XGROUP SETID: 2 in the stream, the group's lag is '0'" said
echo "as described"
