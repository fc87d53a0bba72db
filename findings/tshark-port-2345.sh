#!/bin/sh
# tshark 4.0.17: a conversation on TCP port 2345 is never shown, whatever it says.
#
# Wireshark's dissector for kNet is registered for TCP port 2345, and takes every stream there. What does
# not look like kNet it does not hand back: it goes on waiting for the rest of a message. Dissectors that
# would recognise the stream by its content are never asked, and the list shows "TCP segment of a
# reassembled PDU" for each segment. The same bytes on port 2346 are shown as HTTP. Remedy: "Decode As", or
# -o tcp.try_heuristic_first:TRUE.
#
# Debian 12's packages, unpacked in a temporary folder and run there. Needs root, apt and python3.
set -eu
version=4.0.17-0+deb12u3
tmp=$(mktemp -d)
trap 'rm -rf "$tmp"' EXIT
mkdir -p "$tmp/archives/partial" "$tmp/root/tmp"
: >"$tmp/status"

# As if nothing were installed, so that all that tshark needs comes along.
apt-get -q -y --no-install-recommends -o Dir::State::status="$tmp/status" \
    -o Dir::Cache::archives="$tmp/archives" \
    --download-only install "tshark=$version" >"$tmp/log" 2>&1 || { tail -3 "$tmp/log"; exit 2; }
for package in "$tmp"/archives/*.deb; do
    dpkg-deb -x "$package" "$tmp/root"
done

# GET /, and an answer, in packets of IPv4 without a link layer.
python3 - "$tmp/root/tmp" <<'PYTHON'
import struct, sys

REQUEST = b"GET /index.html HTTP/1.1\r\nHost: example.org\r\n\r\n"
ANSWER = b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\nContent-Type: text/plain\r\n\r\nhello"

def frame(source, target, seq, ack, flags, data=b""):
    tcp = struct.pack(">HHIIHHHH", source, target, seq, ack, 0x5000 | flags, 65535, 0, 0)
    ip = struct.pack(">BBHHHBBHII", 0x45, 0, 40 + len(data), 0, 0, 64, 6, 0, 0x7f000001, 0x7f000001)
    return ip + tcp + data

for port in 2345, 2346:
    frames = [
        frame(40000, port, 1, 0, 0x02), frame(port, 40000, 1, 2, 0x12), frame(40000, port, 2, 2, 0x10),
        frame(40000, port, 2, 2, 0x18, REQUEST), frame(port, 40000, 2, 2 + len(REQUEST), 0x18, ANSWER),
    ]
    with open("%s/%d.pcap" % (sys.argv[1], port), "wb") as out:
        out.write(struct.pack(">IHHIIII", 0xa1b2c3d4, 2, 4, 0, 0, 65535, 101))
        for time, data in enumerate(frames):
            out.write(struct.pack(">IIII", time, 0, len(data), len(data)) + data)
PYTHON

look() {
    chroot "$tmp/root" /usr/bin/tshark -r "/tmp/$1.pcap" -Y 'tcp.len > 0' -T fields -e _ws.col.Protocol \
        -e _ws.col.Info ${2+-o "$2"} 2>/dev/null
}

chroot "$tmp/root" /usr/bin/tshark --version 2>/dev/null | head -n 1
for port in 2346 2345; do
    echo "port $port:"
    look "$port"
done
echo "port 2345, content first:"
look 2345 tcp.try_heuristic_first:TRUE

http='HTTP	GET /index.html HTTP/1.1 
HTTP	HTTP/1.1 200 OK  (text/plain)'
hidden='TCP	[TCP segment of a reassembled PDU]
TCP	[TCP segment of a reassembled PDU]'
[ "$(look 2346)" = "$http" ]
[ "$(look 2345)" = "$hidden" ]
[ "$(look 2345 tcp.try_heuristic_first:TRUE)" = "$http" ]
echo "as described"
