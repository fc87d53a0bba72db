/* A hostile client: the input is its byte stream, fed to a server's session in pieces. The first byte
 * chooses options and the size of the pieces. */
#include "session_driver.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    if (size > 0)
        drive_session(ETCP_ROLE_SERVER, data[0], data + 1, size - 1);
    return 0;
}
