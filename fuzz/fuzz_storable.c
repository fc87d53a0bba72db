/* The Storable reader on any bytes, with a builder that checks what the reader promises: the plain one, and
 * if a scan finds the image sound, the whole one. The first byte chooses options. */
#include <stdlib.h>

#include "../t/c/storable_tree.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static etcp_storable_reader *reader;
    etcp_storable_options options = {200, 0, (const uint8_t *)"\004abcd\004\010\010\010", 9, 4, 8};
    tree_node *root;
    tree t;
    int rc;

    if (!reader)
        reader = etcp_storable_reader_new();
    if (!reader || size == 0)
        return 0;
    if (data[0] & 1)
        options.native_header = NULL;
    if (data[0] & 8)
        options.max_size = 2048;
    tree_init(&t, size);
    t.forbidden = data[0] & 2 ? "B" : NULL;
    t.foreign = data[0] & 4 ? "C" : NULL;
    rc = tree_read(&t, reader, data + 1, size - 1, &options, &root);
    if (rc && (t.live || t.blessed))
        abort();
    tree_deinit(&t);
    if (!tree_is_sound_whole(reader, data + 1, size - 1, &options, t.forbidden))
        abort();
    return 0;
}
