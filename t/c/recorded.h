/* The files of t/data: bytes as hex digits or by their digest, messages by how to make them. A
 * message is a sum (+) of h<hex>, p<seed>:<n> (n bytes of SHA-256 in counter mode), n<seed>:<n>
 * (its low nibbles), t<n> (a text repeated and cut), z<n> (the digit 0) and r<seed>:<m>:<n> (m
 * bytes of p repeated to n).
 *
 * Whatever is wrong with a file ends the program: a test that reads nothing must not pass. */
#ifndef ETCP_T_RECORDED_H
#define ETCP_T_RECORDED_H

#include <stddef.h>

#include "base/buf.h"

/* Ends the program with "Bail out!" and what unless ok. */
void recorded_need(int ok, const char *what);

/* Appends what an even number of hex digits stands for. */
void recorded_append_hex(etcp_buf *out, const char *hex, size_t digits);

/* Replaces the content of out by a message. */
void recorded_make(etcp_buf *out, const char *spec);

/* Whether the content is that of want. */
int recorded_is_content(const etcp_buf *b, const etcp_buf *want);

/* Whether the content has this SHA-256, in hex. */
int recorded_has_digest(const etcp_buf *b, const char *want);

#endif
