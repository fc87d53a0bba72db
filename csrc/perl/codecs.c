#include "codecs.h"

AV *etcp_codecs_ciphers(pTHX)
{
    AV *lines = newAV();
    char version[32];
    size_t count;
    size_t i;
    const etcp_cipher *rows = etcp_ciphers(&count);

    av_push(lines, newSVpvf("T TLS %s 0 0", etcp_tls_library_version(version, sizeof version)));
    for (i = 0; i < count; i++)
        av_push(lines, newSVpvf("%c %s %s %d %d", rows[i].key, rows[i].name, rows[i].version,
                                rows[i].flags & ETCP_CIPHER_CBC ? 1 : 0,
                                rows[i].flags & ETCP_CIPHER_MERGES ? 1 : 0));
    return lines;
}

AV *etcp_codecs_compressors(pTHX)
{
    AV *lines = newAV();
    size_t count;
    size_t i;
    const etcp_compressor *rows = etcp_compressors(&count);

    for (i = 0; i < count; i++)
        av_push(lines, newSVpvf("%c %s %s", rows[i].key, rows[i].name, rows[i].version));
    return lines;
}
