#include <errno.h>
#include <string.h>

#include "base/error.h"
#include "tap.h"

static void test_texts(void)
{
    static const int codes[] = {
        ETCP_OK,      ETCP_AGAIN,  ETCP_EINTR,  ETCP_EPROTO,  ETCP_EREJECTED,
        ETCP_EDECODE, ETCP_EPOLICY, ETCP_EPROXY, ETCP_ETOOBIG, ETCP_EFULL,   ETCP_ECRYPT,  ETCP_ESYSTEM,
        ETCP_ETIMEOUT, ETCP_ECLOSED, ETCP_EINVAL, ETCP_ENOMEM};
    const size_t count = sizeof codes / sizeof codes[0];

    for (size_t i = 0; i < count; i++) {
        const char *mine = etcp_code_text(codes[i]);
        size_t same = 0;

        for (size_t k = 0; k < count; k++)
            same += strcmp(mine, etcp_code_text(codes[k])) == 0;
        tap_ok(mine[0] && strcmp(mine, "unknown error") != 0 && same == 1,
               "%d has a text of its own: %s", codes[i], mine);
    }
    int others = 0;
    for (int code = -100; code <= 100; code++)
        others += strcmp(etcp_code_text(code), "unknown error") != 0;
    tap_is_int(others, (int)count, "no other number from -100 to 100 has one");
}

static void test_first_wins(void)
{
    etcp_error e = {0, 0, ""};

    tap_is_int(etcp_error_set(&e, ETCP_EPROTO, "%s at byte %d", "surprise", 7), ETCP_EPROTO,
               "setting returns the code");
    tap_is_str(e.text, "surprise at byte 7", "the text is formatted");
    tap_is_int(e.sys_errno, 0, "no errno");
    tap_is_int(etcp_error_set(&e, ETCP_ENOMEM, "later"), ETCP_EPROTO, "the first error stays");
    tap_is_int(etcp_error_set_errno(&e, EPIPE, "later"), ETCP_EPROTO, "against errno, too");
    tap_is_str(e.text, "surprise at byte 7", "with its text");
    tap_is_int(e.sys_errno, 0, "and without errno");
}

static void test_errno(void)
{
    etcp_error e = {0, 0, ""};

    tap_is_int(etcp_error_set_errno(&e, ECONNREFUSED, "connect"), ETCP_ESYSTEM, "a system error");
    tap_is_int(e.sys_errno, ECONNREFUSED, "keeps errno");
    tap_ok(strncmp(e.text, "connect: ", 9) == 0 && strstr(e.text, strerror(ECONNREFUSED)),
           "and names call and reason: %s", e.text);
}

static void test_long_text(void)
{
    etcp_error e = {0, 0, ""};
    char text[1000];

    memset(text, 'x', sizeof text - 1);
    text[sizeof text - 1] = '\0';
    etcp_error_set(&e, ETCP_EPROTO, "%s", text);
    tap_is_int((long long)strlen(e.text), ETCP_ERROR_TEXT_MAX - 1, "a long text is cut to fit");
}

int main(void)
{
    test_texts();
    test_first_wins();
    test_errno();
    test_long_text();
    return tap_done();
}
