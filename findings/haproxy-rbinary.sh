#!/bin/sh
# HAProxy 2.6.12: "tcp-check expect rbinary" finds bytes that were not sent, and none in lower case.
#
# The regular expression is matched with the answer written in hexadecimal digits, and knows nothing of where
# a byte begins: "50" is found in the bytes 05 01, so that a server is up which has sent no such byte. The
# digits are capital ones: "ab" is never found, whatever is sent, though "expect binary ab" finds that very
# byte, and the server is down. Neither is warned of when the configuration is read. Remedy: anchor the
# expression at the beginning and count in pairs, ^(..)*50, in capital letters.
#
# Debian 12's packages, unpacked in a temporary folder and run there. Needs apt, python3 and Debian 12.
set -eu
tmp=$(mktemp -d)
trap 'rm -rf "$tmp"' EXIT
cd "$tmp"
for package in haproxy=2.6.12-1+deb12u4 liblua5.3-0=5.3.6-2 libopentracing-c-wrapper0=1.1.3-3+b1 \
    libopentracing1=1.6.0-4; do
    apt-get -q download "$package" >log 2>&1 || { tail -3 log; exit 2; }
done
for package in *.deb; do dpkg-deb -x "$package" root; done
export LD_LIBRARY_PATH="$tmp/root/usr/lib/x86_64-linux-gnu"

# Servers that say a few bytes to whoever connects, and a check of each, in a "backend" of its own.
cat >show.py <<'PYTHON'
import socket, subprocess, sys, threading, time

CHECKS = [
    ("05 01", "rbinary 50"), ("05 01", "rbinary ^(..)*50"), ("50 01", "rbinary ^(..)*50"),
    ("AB", "rbinary ab"), ("AB", "rbinary AB"), ("AB", "binary ab"),
]

def serve(listener, data):
    while True:
        client, _ = listener.accept()
        client.sendall(data)
        threading.Timer(2, client.close).start()

def answer_of(command):
    stats = socket.socket(socket.AF_UNIX)
    stats.connect("stats")
    stats.sendall(command + b"\n")
    return b"".join(iter(lambda: stats.recv(65536), b"")).decode()

config = "global\n stats socket unix@stats\ndefaults\n mode tcp\n timeout connect 1s\n timeout server 3s\n" \
    " timeout client 3s\n timeout check 500\n"
for number, (data, expect) in enumerate(CHECKS):
    listener = socket.create_server(("127.0.0.1", 0))
    threading.Thread(target=serve, args=(listener, bytes.fromhex(data)), daemon=True).start()
    config += "backend b%d\n option tcp-check\n tcp-check expect %s\n" % (number, expect)
    config += " server s 127.0.0.1:%d check inter 300\n" % listener.getsockname()[1]
with open("config", "w") as file:
    file.write(config)
haproxy = subprocess.Popen(["root/usr/sbin/haproxy", "-db", "-q", "-f", "config"], stderr=subprocess.DEVNULL)
try:
    time.sleep(5)
    for row in (line.split(",") for line in answer_of(b"show stat").splitlines()):
        if row[1:2] == ["s"]:
            data, expect = CHECKS[int(row[0][1:])]
            print("%-6s is sent, expect %-17s: %s" % (data, expect, row[17].split()[0]))
finally:
    haproxy.kill()
PYTHON
root/usr/sbin/haproxy -v | sed -n 's/^\(HAProxy version [0-9.]*\).*/\1/p' | tee said
python3 show.py | tee -a said

grep -q '^HAProxy version 2\.6\.12$' said
grep -q '^05 01  is sent, expect rbinary 50 *: UP$' said
grep -q '^05 01  is sent, expect rbinary ^(\.\.)\*50 *: DOWN$' said
grep -q '^50 01  is sent, expect rbinary ^(\.\.)\*50 *: UP$' said
grep -q '^AB     is sent, expect rbinary ab *: DOWN$' said
grep -q '^AB     is sent, expect rbinary AB *: UP$' said
grep -q '^AB     is sent, expect binary ab *: UP$' said
echo "as described"
