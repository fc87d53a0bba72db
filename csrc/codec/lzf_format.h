/* Compress::LZF: Marc Lehmann's LZF stream behind a length in old-style UTF-8, or the plain bytes
 * behind a zero byte. Protocol.pod, "Compression". Written from the format, not from liblzf.
 *
 * This header: the limits of the format, for its reader and its writer. */
#ifndef ETCP_CODEC_LZF_FORMAT_H
#define ETCP_CODEC_LZF_FORMAT_H

enum {
    ETCP_LZF_HEADER_MAX = 6,
    ETCP_LZF_LITERALS_MAX = 32, /* control bytes below that are literals */
    ETCP_LZF_MATCH_MIN = 3,
    ETCP_LZF_MATCH_SHORT = 8, /* longer matches have another byte for their length */
    ETCP_LZF_MATCH_MAX = 264,
    ETCP_LZF_DISTANCE_MAX = 8192 /* a power of two */
};

#endif
