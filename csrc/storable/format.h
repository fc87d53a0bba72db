/* csrc/storable/ reads and writes the memory images of Perl's Storable without knowing Perl: the reader
 * builds values through a table of functions, the writer appends items that its caller walks to.
 * Protocol.pod, "Structures".
 *
 * This header: the bytes of the format. An item is an opcode and what follows it; lengths and counts are
 * 32 bits, big-endian in network order. Items marked "tag" take the next tag number, from 0, when they
 * begin, and OBJECT refers back to an item by its tag. */
#ifndef ETCP_STORABLE_FORMAT_H
#define ETCP_STORABLE_FORMAT_H

/* First byte of an image: major version 2, and whether network order was used. The minor follows. */
enum { ETCP_SX_NETWORK_2 = 5, ETCP_SX_NATIVE_2 = 4 };

typedef enum etcp_storable_op {
    ETCP_SX_OBJECT = 0x00,      /* tag number: an item that began earlier */
    ETCP_SX_LSCALAR = 0x01,     /* length, bytes; tag */
    ETCP_SX_ARRAY = 0x02,       /* count, items; tag */
    ETCP_SX_HASH = 0x03,        /* count, then value item, key length, key; tag */
    ETCP_SX_REF = 0x04,         /* item; tag */
    ETCP_SX_UNDEF = 0x05,       /* tag, as all below unless they say otherwise */
    ETCP_SX_INTEGER = 0x06,     /* an IV as it lies in memory; native order only */
    ETCP_SX_DOUBLE = 0x07,      /* an NV as it lies in memory; native order only */
    ETCP_SX_BYTE = 0x08,        /* one byte: value + 128 */
    ETCP_SX_NETINT = 0x09,      /* 32 bits, signed, big-endian */
    ETCP_SX_SCALAR = 0x0a,      /* length byte, bytes */
    ETCP_SX_TIED_ARRAY = 0x0b,  /* item */
    ETCP_SX_TIED_HASH = 0x0c,   /* item */
    ETCP_SX_TIED_SCALAR = 0x0d, /* item */
    ETCP_SX_SV_UNDEF = 0x0e,    /* the undef constant; in an array: no such element */
    ETCP_SX_SV_YES = 0x0f,      /* the true constant */
    ETCP_SX_SV_NO = 0x10,       /* the false constant */
    ETCP_SX_BLESS = 0x11,       /* length byte, or one with bit 7 and length; name; item. No tag */
    ETCP_SX_IX_BLESS = 0x12,    /* index byte, or one with bit 7 and index; item. No tag */
    ETCP_SX_HOOK = 0x13,        /* an object that STORABLE_freeze turned into a string */
    ETCP_SX_OVERLOAD = 0x14,    /* REF to an object whose class overloads operators */
    ETCP_SX_TIED_KEY = 0x15,    /* item, item */
    ETCP_SX_TIED_IDX = 0x16,    /* item, index */
    ETCP_SX_UTF8STR = 0x17,     /* as SCALAR, of UTF-8 */
    ETCP_SX_LUTF8STR = 0x18,    /* as LSCALAR, of UTF-8 */
    ETCP_SX_FLAG_HASH = 0x19,   /* flag byte, count, then value item, flag byte, key length, key */
    ETCP_SX_CODE = 0x1a,        /* string item: source text */
    ETCP_SX_WEAKREF = 0x1b,     /* as REF */
    ETCP_SX_WEAKOVERLOAD = 0x1c, /* as OVERLOAD */
    ETCP_SX_VSTRING = 0x1d,     /* length byte, literal; string item. No tag */
    ETCP_SX_LVSTRING = 0x1e,    /* length, literal; string item. No tag */
    ETCP_SX_SVUNDEF_ELEM = 0x1f, /* an array element that is the undef constant */
    ETCP_SX_REGEXP = 0x20,      /* flag byte, length, pattern, length byte, modifiers */
    ETCP_SX_LOBJECT = 0x21,     /* anything beyond 2 GB */
    ETCP_SX_BOOLEAN_TRUE = 0x22, /* from Storable 3.27 on, under an unchanged minor */
    ETCP_SX_BOOLEAN_FALSE = 0x23,

    /* Ours, between peers that can receive them, in network order only. No Storable knows them. */
    ETCP_SX_EXACT_DOUBLE = 0xc0,   /* 8 bytes of IEEE 754, most significant first */
    ETCP_SX_EXACT_INTEGER = 0xc1,  /* 64 bits, signed */
    ETCP_SX_EXACT_UNSIGNED = 0xc2, /* 64 bits, unsigned */
    ETCP_SX_EXACT_DECIMAL = 0xc3   /* length byte, decimal text: a number that no double equals */
} etcp_storable_op;

enum {
    ETCP_SX_SHORT_MAX = 255,       /* longest string of SCALAR and UTF8STR */
    ETCP_SX_SHORT_CLASS_MAX = 127, /* longest name, highest index in the single byte of (IX_)BLESS */
    ETCP_SX_LONG_CLASS = 0x80,

    ETCP_SX_HASH_RESTRICTED = 0x01, /* FLAG_HASH: flag of the hash */

    ETCP_SX_KEY_UTF8 = 0x01,     /* flags of a key: the key is UTF-8 */
    ETCP_SX_KEY_WAS_UTF8 = 0x02, /* Latin-1 here, but Perl shall hand it out as UTF-8 */
    ETCP_SX_KEY_LOCKED = 0x04,   /* restricted hashes: the value is read-only */
    ETCP_SX_KEY_IS_ITEM = 0x08,  /* the key is an item; never written */
    ETCP_SX_KEY_PLACEHOLDER = 0x10, /* restricted hashes: allowed but absent */

    ETCP_SX_HOOK_KIND = 0x03, /* flags of HOOK: what the object is */
    ETCP_SX_HOOK_SCALAR = 0,
    ETCP_SX_HOOK_ARRAY = 1,
    ETCP_SX_HOOK_HASH = 2,
    ETCP_SX_HOOK_TIED = 3,        /* the next byte says of which kind */
    ETCP_SX_HOOK_TIED_SCALAR = 4,
    ETCP_SX_HOOK_TIED_ARRAY = 5,
    ETCP_SX_HOOK_TIED_HASH = 6,
    ETCP_SX_HOOK_LARGE_CLASS = 0x04, /* class length or index in 32 bits */
    ETCP_SX_HOOK_LARGE_STRING = 0x08,
    ETCP_SX_HOOK_LARGE_LIST = 0x10,
    ETCP_SX_HOOK_CLASS_INDEX = 0x20, /* class by index, not by name */
    ETCP_SX_HOOK_RECURSE = 0x40,     /* an item and another flag byte come first */
    ETCP_SX_HOOK_LIST = 0x80,        /* tags of other items follow the string */

    ETCP_SX_REGEXP_LARGE = 0x01 /* pattern length in 32 bits */
};

#endif
