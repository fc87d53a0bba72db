#!/bin/sh
# zlib 1.2.11: deflateParams after deflateReset writes the header of the next stream where the last one ended.
#
# A stream that is reset is as one that was just made, says zlib.h, and deflateParams flushes what was given
# to it before. Yet who keeps a z_stream for many messages, and asks for another level between two of them,
# loses the second: deflateParams itself writes its header of two bytes, to where next_out still points,
# behind the first message, and what deflate makes afterwards begins without it. All functions return Z_OK or
# Z_STREAM_END. Only changes between the levels 1 to 3 and 4 to 9 do it: these are two algorithms. With
# zlib 1.2.13 the same program is right. Remedy: give deflateParams a place of its own for next_out, and
# reset again if something was written there.
#
# Debian 11's package beside Debian 12's, unpacked in a temporary folder. Needs apt, a C compiler and amd64.
set -eu
tmp=$(mktemp -d)
trap 'rm -rf "$tmp"' EXIT
cd "$tmp"
# Debian 11's is in the same archive.
pool=$(apt-get --print-uris download zlib1g | sed -n "s,^'\\(.*/\\)zlib1g_.*,\\1,p")
[ -n "$pool" ] || { echo "it is not known where zlib is"; exit 2; }
for version in 1.2.11.dfsg-2+deb11u2 1.2.13.dfsg-1; do
    for package in zlib1g zlib1g-dev; do
        file=${package}_${version}_amd64.deb
        /usr/lib/apt/apt-helper download-file "$pool$file" "$file" >log 2>&1 || { tail -3 log; exit 2; }
        dpkg-deb -x "$file" "$version"
    done
done

cat >show.c <<'C'
#include <stdio.h>
#include <string.h>
#include <zlib.h>

static const char *const messages[] = {"the first message, the first message",
                                       "the second message, the second"};

static void read_back(const unsigned char *packed, size_t len)
{
    unsigned char text[100];
    z_stream z;
    int rc;

    memset(&z, 0, sizeof z);
    inflateInit(&z);
    z.next_in = (unsigned char *)packed;
    z.avail_in = (unsigned)len;
    z.next_out = text;
    z.avail_out = sizeof text;
    rc = inflate(&z, Z_FINISH);
    if (rc == Z_STREAM_END)
        printf("read back \"%.*s\"\n", (int)z.total_out, text);
    else
        printf("not read back: %s\n", z.msg ? z.msg : "no message");
    inflateEnd(&z);
}

int main(void)
{
    unsigned char packed[2][100];
    z_stream z;

    printf("zlib %s\n", zlibVersion());
    memset(packed, '.', sizeof packed);
    memset(&z, 0, sizeof z);
    deflateInit(&z, 6);
    for (int i = 0; i < 2; i++) {
        z.next_in = (unsigned char *)messages[i];
        z.avail_in = (unsigned)strlen(messages[i]);
        z.next_out = packed[i];
        z.avail_out = sizeof packed[i];
        printf("message %d: deflate gives %d, ", i + 1, deflate(&z, Z_FINISH));
        read_back(packed[i], z.total_out);
        if (i == 0) {
            const unsigned char *end = z.next_out;
            int reset = deflateReset(&z), params = deflateParams(&z, 1, Z_DEFAULT_STRATEGY);

            printf("deflateReset gives %d, deflateParams %d, %d bytes were written behind message 1\n",
                   reset, params, (end[0] != '.') + (end[1] != '.') + (end[2] != '.'));
        }
    }
    deflateEnd(&z);
    return 0;
}
C
for version in 1.2.11.dfsg-2+deb11u2 1.2.13.dfsg-1; do
    library=$(dirname "$(find "$tmp/$version" -name 'libz.so.1')")
    ${CC:-cc} -I"$tmp/$version/usr/include" -o show show.c "$library/libz.so.1"
    LD_LIBRARY_PATH=$library ./show
done | tee seen

cat >expected <<'END'
zlib 1.2.11
message 1: deflate gives 1, read back "the first message, the first message"
deflateReset gives 0, deflateParams 0, 2 bytes were written behind message 1
message 2: deflate gives 1, not read back: incorrect header check
zlib 1.2.13
message 1: deflate gives 1, read back "the first message, the first message"
deflateReset gives 0, deflateParams 0, 0 bytes were written behind message 1
message 2: deflate gives 1, read back "the second message, the second"
END
diff expected seen
echo "as described"
