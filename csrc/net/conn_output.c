/* The sending side of a connection. */
#include "conn_private.h"

#include <errno.h>
#include <string.h>
#include <sys/uio.h>

#include "base/mem.h"
#include "base/rare.h"
#include "clock.h"

enum {
    RETRY_STEP = 256 << 10, /* while blocked, writing is tried anyway after so many more bytes */
    LONG_QUEUE = 64 << 10,  /* from here on, or from the high-water mark, its end is told */
    GATHER_MAX = 64 << 10,  /* gathered at most */
    BORROW_MIN = 4096,      /* smaller rests are copied: cheaper than keeping the owner */
    SMALL_MAX = 1000,       /* payload of a message that is copied in any case */
    GAP_MIN_MS = 5,
    GAP_MAX_MS = 50,
    SEALED_AHEAD = 4 << 20, /* of a large message, where its sender waits anyway */
    PART = 128 << 10 /* of a large message, sealed at a time: fits into the processor's cache */
};

static int write_failed(etcp_conn *c, int error)
{
    (void)etcp_conn_set_errno(c, error, "write");
    c->write_errno = error;
    etcp_conn_end_output(c);
    etcp_conn_watch(c);
    etcp_conn_pend(c);
    errno = error;
    return ETCP_ESYSTEM;
}

static ETCP_RARE void release_all(etcp_conn *c)
{
    const int saved = errno;

    etcp_output_release(&c->out);
    errno = saved;
}

/* Releases the payloads that are not needed any more, which may drop the connection: the last thing
 * that a call does. */
static inline void release_finished(etcp_conn *c)
{
    if (c->out.finished)
        release_all(c);
}

int etcp_conn_is_full(const etcp_conn *c)
{
    return c->entry.loop && c->limits.high_water && etcp_conn_unsent(c) > c->limits.high_water;
}

/* What the kernel takes at once never was long, however much it is. */
static inline void note_long(etcp_conn *c)
{
    if (c->blocked && c->entry.loop && (c->out.len >= LONG_QUEUE || etcp_conn_is_full(c)))
        c->was_long = 1;
}

/* Keeps the time since when output does not get on, where there is a loop to watch it. */
static void note_stall(etcp_conn *c, int has_moved)
{
    etcp_deadline *stall = &c->entry.stall;

    if (c->out.len == 0 || !c->entry.loop)
        etcp_deadline_stop(stall);
    else if (has_moved || !stall->list)
        etcp_deadline_start(&c->entry.loop->stalled, stall, etcp_clock_ms());
}

/* The kernel left so many bytes. */
static void note_blocked(etcp_conn *c, size_t left)
{
    c->blocked = left > 0;
    c->was_blocked |= c->blocked;
    c->retry_at = left + RETRY_STEP;
}

/* Half a packet is out and the rest is lost: nothing sensible can follow it. */
static int break_off(etcp_conn *c, int code)
{
    (void)etcp_conn_set_error(c, code, etcp_code_text(code));
    etcp_conn_end_output(c);
    etcp_conn_pend(c);
    return code;
}

/* Queues a block, which it takes over. */
static int queue_block(etcp_conn *c, etcp_buf *block)
{
    int rc;

    if (etcp_buf_len(block) >= BORROW_MIN) {
        rc = etcp_output_append_borrowed(&c->out, block->data, 0, etcp_buf_bytes(block),
                                         etcp_buf_len(block), etcp_free, block->data);
        if (rc == 0) {
            etcp_buf_init(block);
            return 0;
        }
    } else {
        rc = etcp_output_append(&c->out, etcp_buf_bytes(block), etcp_buf_len(block), NULL, 0);
    }
    etcp_buf_deinit(block);
    return rc;
}

/* Clear text of many messages becomes one record: seals it into the queue. What cannot be sealed any
 * more, as the input has failed, is lost; what is queued is not. */
static int seal_gathered(etcp_conn *c)
{
    etcp_buf *clear = &c->tunnel->gathered;
    etcp_buf block;
    int rc;

    if (etcp_buf_len(clear) == 0)
        return 0;
    if (etcp_channel_has_failed(c->tunnel->channel)) {
        etcp_buf_wipe(clear);
        return 0;
    }
    etcp_buf_init(&block);
    rc = etcp_channel_seal(c->tunnel->channel, NULL, 0, etcp_buf_bytes(clear), etcp_buf_len(clear),
                           &block);
    etcp_buf_wipe(clear);
    rc = rc < 0 ? rc : queue_block(c, &block);
    etcp_buf_deinit(&block);
    return rc < 0 ? break_off(c, rc) : 0;
}

/* Before the queue of a connection with a tunnel is written. */
static int prepare_tunnel(etcp_conn *c)
{
    if (!c->out.head && etcp_buf_len(&c->tunnel->gathered) == 0)
        return 0;
    return etcp_conn_may_use_tunnel(c) ? seal_gathered(c) : ETCP_ECLOSED;
}

static void note_drained(etcp_conn *c)
{
    if (!c->was_long || etcp_conn_unsent(c) > 0)
        return;
    c->was_long = 0;
    c->drained = 1;
    etcp_conn_pend(c);
}

void etcp_conn_tell_drained(etcp_conn *c)
{
    c->was_long = 1;
    note_drained(c);
}

int etcp_conn_take_drained(etcp_conn *c)
{
    if (!c->drained)
        return 0;
    c->drained = 0;
    c->was_long = etcp_conn_queued(c) > 0;
    return !c->was_long;
}

static int flush_queue(etcp_conn *c)
{
    ptrdiff_t written;

    if (c->entry.fd < 0)
        return 0;
    if (c->tunnel) {
        int rc = prepare_tunnel(c);

        if (rc < 0)
            return rc;
    }
    if (!c->out.head)
        return 0;
    written = etcp_output_flush(&c->out, c->entry.fd);
    if (written < 0)
        return write_failed(c, errno);
    etcp_conn_count_out(c, (size_t)written);
    note_blocked(c, c->out.len);
    note_long(c);
    note_stall(c, written > 0);
    note_drained(c);
    etcp_conn_watch(c);
    if (c->braked && !etcp_conn_is_braked(c)) {
        c->braked = 0;
        etcp_conn_pend(c);
    }
    return 0;
}

int etcp_conn_flush(etcp_conn *c)
{
    int rc = flush_queue(c);

    release_finished(c);
    return rc;
}

int etcp_conn_stays_full(etcp_conn *c)
{
    if (!etcp_conn_is_full(c))
        return 0;
    if (!c->blocked)
        (void)flush_queue(c); /* a failure shows when something is sent */
    if (!etcp_conn_is_full(c))
        return 0;
    c->was_long = 1; /* what is refused is refused until this is told */
    return 1;
}

/* ---- gathering ------------------------------------------------------------------------------- */

void etcp_conn_flush_gathered(etcp_loop *l)
{
    etcp_conn *c;

    if (!l->gatherer)
        return;
    c = etcp_conn_of(l->gatherer);
    l->gatherer = NULL;
    c->gathering = 0;
    etcp_process_unhook(&l->before_fork);
    (void)etcp_conn_flush(c);
}

static void flush_before_fork(etcp_fork_hook *h)
{
    etcp_conn_flush_gathered((etcp_loop *)(void *)h);
}

void etcp_conn_gather(etcp_conn *c)
{
    etcp_loop *l = c->entry.loop;

    if (!l->gatherer) {
        l->before_fork.run = flush_before_fork;
        etcp_process_hook(&l->before_fork);
    }
    l->gatherer = &c->entry;
    c->gathering = 1;
}

/* ---- messages -------------------------------------------------------------------------------- */

/* Servers older than 1.00 lose a message that reaches them in the same read as the client's EN
 * (Protocol.pod, "Quirks"). Nothing on the wire separates reads, so the best that can be done is
 * done: the first message waits until the server's kernel has acknowledged EN and a few
 * milliseconds have passed, in which the server reads it. Bytes from the server prove that it went
 * on. The wait is here and not at the end of dialling, so that programs that listen first do not
 * pay for it. */
unsigned etcp_conn_gap_left(etcp_conn *c)
{
    uint64_t passed;

    if (!c->gap_since_ms)
        return 0;
    passed = etcp_clock_ms() - c->gap_since_ms;
    if (passed < GAP_MAX_MS && etcp_sys->unread(c->entry.fd) == 0) {
        if (passed < GAP_MIN_MS)
            return (unsigned)(GAP_MIN_MS - passed);
        if (etcp_sys->unacked(c->entry.fd) > 0)
            return 1;
    }
    c->gap_since_ms = 0;
    return 0;
}

static void wait_for_gap(etcp_conn *c)
{
    int round;

    for (round = 0; round < GAP_MAX_MS && etcp_conn_gap_left(c); round++)
        (void)etcp_sys->poll(NULL, 0, 1);
    c->gap_since_ms = 0;
}

static int send_error(const etcp_conn *c)
{
    const etcp_error *e = etcp_conn_error(c);

    if (c->write_errno) {
        errno = c->write_errno;
        return ETCP_ESYSTEM;
    }
    if (e->sys_errno)
        errno = e->sys_errno;
    return e->code ? e->code : ETCP_ECLOSED;
}

/* Who keeps a payload in place, and whether the queue borrows it. */
typedef struct lender {
    etcp_release_fn release;
    void *owner;
    int is_queued;
    int is_for_many; /* and nobody waits for the one who gets it */
} lender;

/* Queues a packet without its first done bytes. */
static int queue_rest(etcp_conn *c, const etcp_packet *packet, size_t done, lender *l)
{
    size_t skip_header = done < packet->header_len ? done : packet->header_len;
    size_t skip_body = done - skip_header;
    const uint8_t *header = packet->header + skip_header;
    size_t header_len = packet->header_len - skip_header;
    const uint8_t *body = packet->body + skip_body;
    size_t body_len = packet->body_len - skip_body;
    int rc;

    if (!packet->body_len)
        return etcp_output_append(&c->out, header, header_len, NULL, 0);
    if (!l->release || body_len < BORROW_MIN)
        return etcp_output_append(&c->out, header, header_len, body, body_len);
    rc = etcp_output_append_borrowed(&c->out, header, header_len, body, body_len, l->release,
                                     l->owner);
    l->is_queued = rc == 0;
    return rc;
}

static int after_queueing(etcp_conn *c)
{
    note_long(c);
    if (c->gathering && c->out.len < GATHER_MAX)
        return 0;
    if (c->blocked && c->out.len < c->retry_at) {
        note_stall(c, 0);
        etcp_conn_watch(c);
        return 0;
    }
    return flush_queue(c);
}

static int put_packet(etcp_conn *c, const etcp_packet *packet, lender *l)
{
    size_t total = packet->header_len + packet->body_len;
    size_t done = 0;
    int rc;

    if (c->out.len == 0 && !c->gathering) {
        ssize_t n = etcp_socket_write_two(c->entry.fd, packet->header, packet->header_len,
                                          packet->body, packet->body_len);

        if (n < 0)
            return write_failed(c, errno);
        done = (size_t)n;
        etcp_conn_count_out(c, done);
        if (done == total)
            return 0;
        note_blocked(c, total - done);
    }
    rc = queue_rest(c, packet, done, l);
    if (rc == 0)
        return after_queueing(c);
    c->blocked = c->blocked && c->out.len > 0;
    return done ? break_off(c, rc) : rc;
}

/* Sends what the session made of a payload, which is not needed any more. The queue takes over what
 * it would have to copy. */
static int put_encoded(etcp_conn *c, const etcp_packet *packet)
{
    lender encoded = {etcp_free, etcp_session_encoded(c->session), 0, 0};
    int rc = put_packet(c, packet, &encoded);

    if (encoded.is_queued)
        etcp_session_give_encoded(c->session);
    return rc;
}

/* The pauses between the parts of a large message. */
typedef struct pauses {
    uint64_t since;
    int are_over;
} pauses;

static int is_interrupted(const etcp_conn *c)
{
    const etcp_config *config = etcp_session_config(c->session);

    return !config->is_interrupted || config->is_interrupted();
}

/* Whether it is time to wait, until how little is queued. */
static int wants_pause(const etcp_conn *c, size_t *mark)
{
    if (c->entry.loop)
        return etcp_conn_wants_drain(c, mark);
    *mark = SEALED_AHEAD / 2;
    return c->out.len > SEALED_AHEAD;
}

/* Between two parts of a large message. Who waits for the queue afterwards does so better before all of
 * it is sealed, and needs memory. A signal ends that, since its handler runs when all is queued. */
static int wait_for_sealed(etcp_conn *c, pauses *p)
{
    size_t mark;
    int rc;

    if (p->are_over || !wants_pause(c, &mark))
        return 0;
    if (!c->entry.loop)
        p->since = 0;
    c->is_halfway = 1;
    do {
        rc = etcp_conn_await_written(c, mark, &p->since);
    } while (rc == ETCP_EINTR && !is_interrupted(c));
    c->is_halfway = 0;
    p->are_over = rc == ETCP_EINTR;
    return p->are_over ? 0 : rc;
}

/* An exception of a handler that ran at once, as those of POSIX::sigaction do, has left a pause: what
 * stands on the wire is the beginning of a message. */
static ETCP_RARE int left_halfway(etcp_conn *c)
{
    c->is_halfway = 0;
    (void)etcp_conn_set_error(c, ETCP_ECLOSED, "A signal's handler left a message half sent");
    return break_off(c, ETCP_ECLOSED);
}

/* Sends the other parts of a packet. */
static int put_rest(etcp_conn *c, etcp_packet *packet, const lender *l)
{
    pauses p = {0, l->is_for_many};
    int rc = 0;

    while (rc == 0 && packet->rest_len) {
        rc = wait_for_sealed(c, &p);
        if (rc == 0)
            rc = etcp_session_encode_rest(c->session, packet);
        if (rc == 0)
            rc = put_encoded(c, packet);
    }
    return rc < 0 && !c->output_ended ? break_off(c, rc) : rc;
}

static int refuse_to_queue(etcp_conn *c)
{
    if (c->limits.when_full == ETCP_FULL_FAIL)
        return ETCP_EFULL;
    (void)etcp_conn_set_error(c, ETCP_EFULL, etcp_code_text(ETCP_EFULL));
    (void)etcp_conn_end_input(c, ETCP_EFULL);
    etcp_conn_end_output(c);
    etcp_conn_watch(c);
    etcp_conn_pend(c);
    return ETCP_EFULL;
}

/* ---- TLS ------------------------------------------------------------------------------------- */

/* Sends a block, which it takes over. */
static int put_block(etcp_conn *c, etcp_buf *block)
{
    lender l = {etcp_free, block->data, 0, 0};
    etcp_packet packet;
    int rc;

    memset(&packet, 0, sizeof packet);
    packet.body = etcp_buf_bytes(block);
    packet.body_len = etcp_buf_len(block);
    rc = put_packet(c, &packet, &l);
    if (l.is_queued)
        etcp_buf_init(block);
    etcp_buf_deinit(block);
    return rc;
}

int etcp_conn_push_tunnel(etcp_conn *c)
{
    etcp_buf block = c->tunnel->cipher;

    if (etcp_buf_len(&block) == 0 || c->output_ended || c->entry.fd < 0)
        return 0;
    etcp_buf_init(&c->tunnel->cipher);
    if (!etcp_conn_may_use_tunnel(c)) {
        etcp_buf_deinit(&block);
        return ETCP_ECLOSED;
    }
    return put_block(c, &block);
}

/* What the session inside has to say. */
static int push_inside(etcp_conn *c)
{
    etcp_buf *from = etcp_session_output(c->session);
    int rc = 0;

    if (etcp_buf_len(from) && !c->output_ended && c->entry.fd >= 0) {
        rc = etcp_conn_may_use_tunnel(c)
                 ? etcp_channel_seal(c->tunnel->channel, NULL, 0, etcp_buf_bytes(from),
                                     etcp_buf_len(from), &c->tunnel->cipher)
                 : ETCP_ECLOSED;
        etcp_buf_wipe(from);
    }
    if (rc < 0 && !c->output_ended)
        return break_off(c, rc);
    return rc < 0 ? rc : etcp_conn_push_tunnel(c);
}

/* Closing is no use that would take the connection from another process; where no other one has it
 * any more, after a system() for example, it is. */
static int may_say_goodbye(etcp_conn *c)
{
    return etcp_claim_is_ours(&c->tunnel->claim) ||
           (etcp_conn_is_sole_owner(c) && etcp_claim_take(&c->tunnel->claim));
}

void etcp_conn_say_goodbye(etcp_conn *c)
{
    if (!c->tunnel || c->output_ended || c->entry.fd < 0 || !may_say_goodbye(c))
        return;
    if (seal_gathered(c) == 0 && etcp_channel_close(c->tunnel->channel, &c->tunnel->cipher) == 0)
        (void)etcp_conn_push_tunnel(c);
}

static int gather_clear(etcp_conn *c, const etcp_packet *packet)
{
    etcp_buf *clear = &c->tunnel->gathered;
    int rc = etcp_buf_reserve(clear, packet->header_len + packet->body_len);

    if (rc < 0)
        return rc;
    (void)etcp_buf_append(clear, packet->header, packet->header_len);
    return etcp_buf_append(clear, packet->body, packet->body_len);
}

/* Seals and sends in parts, so that the peer receives the first while the last is worked on. What is
 * sealed of a piece may be forgotten then, if it says so; piece NULL: body is none. */
static int put_parts(etcp_conn *c, const uint8_t *head, size_t head_len, const uint8_t *body,
                     size_t body_len, const etcp_piece *piece, pauses *p)
{
    size_t done = 0;
    int rc;

    do {
        size_t part = body_len - done < PART ? body_len - done : PART;
        etcp_buf block;

        etcp_buf_init(&block);
        rc = etcp_channel_seal(c->tunnel->channel, head, done ? 0 : head_len, body + done, part,
                               &block);
        if (rc == ETCP_ENOMEM && !done)
            return rc; /* nothing is sealed: the next message may still be sent */
        if (piece)
            etcp_piece_forget(piece, done, part);
        if (rc == 0)
            rc = put_block(c, &block);
        etcp_buf_deinit(&block);
        if (rc == 0)
            rc = wait_for_sealed(c, p);
        done += part;
    } while (rc == 0 && done < body_len);
    return rc < 0 && !c->output_ended ? break_off(c, rc) : rc;
}

/* Whether something can be sealed: 0, or why not. What was sealed before still leaves. */
static int check_tunnel(etcp_conn *c)
{
    if (etcp_conn_may_use_tunnel(c) && !etcp_channel_has_failed(c->tunnel->channel))
        return 0;
    return send_error(c);
}

static int put_in_tunnel(etcp_conn *c, const etcp_packet *packet, const lender *l)
{
    size_t total = packet->header_len + packet->body_len;
    pauses p = {0, l->is_for_many};
    int rc = check_tunnel(c);

    if (rc < 0)
        return rc;
    if (c->gathering && etcp_buf_len(&c->tunnel->gathered) + total <= ETCP_GATHERED_MAX)
        return gather_clear(c, packet);
    rc = seal_gathered(c);
    return rc < 0 ? rc
                  : put_parts(c, packet->header, packet->header_len, packet->body,
                              packet->body_len, NULL, &p);
}

/* ---- negotiation packets --------------------------------------------------------------------- */

int etcp_conn_push_session(etcp_conn *c)
{
    etcp_buf *from = etcp_session_output(c->session);
    int rc;

    if (c->tunnel)
        return push_inside(c);
    if (etcp_buf_len(from) == 0 || c->output_ended || c->entry.fd < 0)
        return 0;
    if (c->out.len == 0) {
        struct iovec piece;
        ssize_t n;

        piece.iov_base = from->data + from->start;
        piece.iov_len = etcp_buf_len(from);
        n = etcp_socket_write(c->entry.fd, &piece, 1);
        if (n < 0)
            return write_failed(c, errno);
        etcp_conn_count_out(c, (size_t)n);
        etcp_buf_consume(from, (size_t)n);
        if (etcp_buf_len(from) == 0) {
            etcp_buf_deinit(from); /* it will not be needed for long, if ever */
            return 0;
        }
    }
    rc = etcp_output_append(&c->out, etcp_buf_bytes(from), etcp_buf_len(from), NULL, 0);
    if (rc < 0) {
        (void)etcp_conn_set_error(c, rc, etcp_code_text(rc));
        etcp_conn_end_output(c);
        return rc;
    }
    etcp_buf_deinit(from);
    return flush_queue(c); /* nothing of a negotiation is borrowed */
}

/* ---- sending --------------------------------------------------------------------------------- */

/* Whether a message can be sent now: 0, or why not. */
static inline int check_output(etcp_conn *c)
{
    if ((c->state != ETCP_CONN_OPEN && c->state != ETCP_CONN_NEGOTIATING) || c->entry.fd < 0)
        return ETCP_ECLOSED;
    if (c->limits.when_full != ETCP_FULL_WAIT && etcp_conn_stays_full(c))
        return refuse_to_queue(c);
    if (c->output_ended)
        return send_error(c);
    if (c->is_halfway)
        return left_halfway(c);
    if (c->gap_since_ms)
        wait_for_gap(c);
    return 0;
}

/* The kernel has taken the first n bytes of a small packet only, or writing has failed. */
static ETCP_RARE int queue_rest_of_small(etcp_conn *c, const uint8_t *packet, size_t len, ssize_t n)
{
    int rc;

    if (n < 0)
        return write_failed(c, errno);
    etcp_conn_count_out(c, (size_t)n);
    note_blocked(c, len - (size_t)n);
    rc = etcp_output_append(&c->out, packet + n, len - (size_t)n, NULL, 0);
    if (rc == 0)
        return after_queueing(c);
    c->blocked = 0;
    return n ? break_off(c, rc) : rc;
}

/* What put_packet does with a small message that goes as it is, without a description of the packet
 * in between: most messages are such. Where nothing waits: */
static int put_small_at_once(etcp_conn *c, unsigned flags, const uint8_t *payload, size_t len)
{
    uint8_t packet[ETCP_HEADER_SIZE + SMALL_MAX];
    size_t whole = etcp_session_encode_header(c->session, flags, len, packet);
    ssize_t n;

    memcpy(packet + whole, payload, len);
    whole += len;
    n = etcp_socket_write_one(c->entry.fd, packet, whole);
    if (n != (ssize_t)whole)
        return queue_rest_of_small(c, packet, whole, n);
    etcp_conn_count_out(c, whole);
    return 0;
}

/* Otherwise: */
static int queue_small(etcp_conn *c, unsigned flags, const uint8_t *payload, size_t len)
{
    uint8_t *to = etcp_output_reserve(&c->out, ETCP_HEADER_SIZE + len);
    size_t header_len;

    if (!to) {
        c->blocked = c->blocked && c->out.len > 0;
        return ETCP_ENOMEM;
    }
    header_len = etcp_session_encode_header(c->session, flags, len, to);
    memcpy(to + header_len, payload, len);
    etcp_output_commit(&c->out, header_len + len);
    return after_queueing(c);
}

static inline int put_message(etcp_conn *c, etcp_packet *packet, lender *l)
{
    int rc;

    if (c->tunnel)
        return put_in_tunnel(c, packet, l);
    if (packet->is_borrowed)
        return put_packet(c, packet, l);
    rc = put_encoded(c, packet);
    return rc < 0 || !packet->rest_len ? rc : put_rest(c, packet, l);
}

static int send_message(etcp_conn *c, unsigned flags, const uint8_t *payload, size_t len,
                               lender *l)
{
    etcp_packet packet;
    int rc = etcp_session_encode(c->session, flags, payload, len, &packet);

    return rc < 0 ? rc : put_message(c, &packet, l);
}

static inline void count_message(etcp_conn *c, size_t len)
{
    if (!c->traffic)
        return;
    c->traffic->messages_out++;
    c->traffic->payload_out += len;
}

/* etcp_conn_send for all messages, after the output was checked with the result rc. */
static int send_checked(etcp_conn *c, int rc, unsigned flags, const uint8_t *payload, size_t len,
                        etcp_release_fn release, void *owner)
{
    lender l = {release, owner, 0, 0};
    int saved;

    if (rc == 0)
        rc = send_message(c, flags, payload, len, &l);
    if (rc == 0)
        count_message(c, len);
    release_finished(c);
    if (!release || l.is_queued)
        return rc;
    saved = errno;
    release(owner);
    errno = saved;
    return rc;
}

/* Whether a message goes the short way: it is small and goes as it is, and nothing stands in its way. */
static inline int is_usual(const etcp_conn *c, size_t len)
{
    return c->state == ETCP_CONN_OPEN && c->entry.fd >= 0 &&
           c->generation == etcp_process_generation() && !c->on_close && !c->output_ended &&
           !c->gap_since_ms && !c->tunnel && (c->entry.loop || !etcp_session_is_early(c->session)) &&
           len && len <= SMALL_MAX && etcp_session_is_plain(c->session, len) &&
           (c->out.len == 0 || !etcp_conn_is_full(c));
}

int etcp_conn_send_usual(etcp_conn *c, unsigned flags, const uint8_t *payload, size_t len)
{
    int rc;

    if (!is_usual(c, len))
        return 0;
    if (c->out.len > 0 || c->gathering)
        rc = queue_small(c, flags, payload, len);
    else
        rc = put_small_at_once(c, flags, payload, len);
    if (rc == 0) {
        count_message(c, len);
        rc = c->out.len > 0 && etcp_conn_wants_drain(c, NULL) ? 2 : 1;
    }
    release_finished(c);
    return rc;
}

int etcp_conn_send(etcp_conn *c, unsigned flags, const uint8_t *payload, size_t len,
                   etcp_release_fn release, void *owner)
{
    int rc = release ? 0 : etcp_conn_send_usual(c, flags, payload, len);

    if (rc != 0)
        return rc < 0 ? rc : 0;
    etcp_conn_check(c);
    return send_checked(c, check_output(c), flags, payload, len, release, owner);
}

/* ---- messages in pieces ----------------------------------------------------------------------- */

static void release_pieces(const etcp_piece *pieces, size_t count)
{
    const int saved = errno;

    for (size_t i = 0; i < count; i++)
        pieces[i].release(pieces[i].owner);
    errno = saved;
}

/* Seals a piece behind what stands before it, or queues it. It is released when it is not needed any
 * more. */
static int put_piece(etcp_conn *c, const etcp_buf *before, const etcp_piece *piece, pauses *p)
{
    const uint8_t *head = etcp_buf_bytes(before);
    const size_t head_len = etcp_buf_len(before);
    int rc;

    if (!c->tunnel) {
        rc = etcp_output_append_borrowed(&c->out, head, head_len, piece->bytes, piece->len,
                                         piece->release, piece->owner);
        if (rc == 0)
            return 0;
    } else {
        rc = put_parts(c, head, head_len, piece->bytes, piece->len, piece, p);
    }
    release_pieces(piece, 1);
    return rc;
}

/* The bytes that stand last. */
static int put_end(etcp_conn *c, const etcp_buf *end, pauses *p)
{
    if (etcp_buf_len(end) == 0)
        return 0;
    if (c->tunnel)
        return put_parts(c, NULL, 0, etcp_buf_bytes(end), etcp_buf_len(end), NULL, p);
    return etcp_output_append(&c->out, etcp_buf_bytes(end), etcp_buf_len(end), NULL, 0);
}

/* Short pieces go together with the header, or with the long one behind them. Stores how many pieces
 * were taken care of, and whether the packet has begun. */
static int put_all(etcp_conn *c, etcp_buf *before, const etcp_piece *pieces, size_t count,
                   size_t *taken, int *has_begun)
{
    pauses p = {0, 0};
    int rc = 0;

    while (rc == 0 && *taken < count) {
        const etcp_piece *piece = &pieces[(*taken)++];

        if (piece->len < BORROW_MIN) {
            rc = etcp_buf_append(before, piece->bytes, piece->len);
            release_pieces(piece, 1);
            continue;
        }
        rc = put_piece(c, before, piece, &p);
        *has_begun |= rc == 0;
        etcp_buf_clear(before);
    }
    return rc < 0 ? rc : put_end(c, before, &p);
}

static int put_pieces(etcp_conn *c, const etcp_packet *packet, const etcp_piece *pieces, size_t count)
{
    etcp_buf before;
    size_t taken = 0;
    int has_begun = 0;
    int rc;

    etcp_buf_init(&before);
    rc = etcp_buf_append(&before, packet->header, packet->header_len);
    if (rc == 0 && c->tunnel)
        rc = check_tunnel(c);
    if (rc == 0 && c->tunnel)
        rc = seal_gathered(c);
    if (rc == 0)
        rc = put_all(c, &before, pieces, count, &taken, &has_begun);
    release_pieces(pieces + taken, count - taken);
    etcp_buf_deinit(&before);
    if (rc < 0 && has_begun && !c->output_ended)
        return break_off(c, rc);
    return rc < 0 || c->tunnel ? rc : after_queueing(c);
}

/* Puts together what has to be in one place. Returns 0 or ETCP_ENOMEM. */
static int join_pieces(const etcp_piece *pieces, size_t count, size_t len, etcp_piece *whole)
{
    uint8_t *bytes = etcp_malloc(len);

    if (bytes)
        etcp_pieces_copy(bytes, pieces, count);
    release_pieces(pieces, count);
    whole->bytes = bytes;
    whole->len = len;
    whole->release = etcp_free;
    whole->owner = bytes;
    return bytes ? 0 : ETCP_ENOMEM;
}

static int send_joined(etcp_conn *c, unsigned flags, const etcp_piece *pieces, size_t count, size_t len)
{
    etcp_piece whole = pieces[0];
    int rc = count > 1 ? join_pieces(pieces, count, len, &whole) : 0;

    return rc < 0 ? rc : etcp_conn_send(c, flags, whole.bytes, whole.len, whole.release, whole.owner);
}

/* What the session has made of the pieces goes in their place, or what it makes of them part by part. */
static int put_instead(etcp_conn *c, etcp_packet *packet, const etcp_piece *pieces, size_t count)
{
    const int are_needed = packet->rest_len > 0;
    lender nobody = {NULL, NULL, 0, 0};
    int rc;

    if (!are_needed)
        release_pieces(pieces, count);
    rc = put_message(c, packet, &nobody);
    if (are_needed)
        release_pieces(pieces, count);
    return rc;
}

int etcp_conn_send_pieces(etcp_conn *c, unsigned flags, const etcp_piece *pieces, size_t count,
                          size_t len)
{
    etcp_packet packet;
    int rc;

    etcp_conn_check(c);
    rc = check_output(c);
    if (rc == 0)
        rc = etcp_session_encode_pieces(c->session, flags, pieces, count, len, &packet);
    if (rc == ETCP_IN_ONE_PLACE)
        return send_joined(c, flags, pieces, count, len);
    if (rc < 0)
        release_pieces(pieces, count);
    else if (packet.is_borrowed)
        rc = put_pieces(c, &packet, pieces, count);
    else
        rc = put_instead(c, &packet, pieces, count);
    if (rc == 0)
        count_message(c, len);
    release_finished(c);
    return rc;
}

/* ---- messages for many ------------------------------------------------------------------------ */

static void release_parcel(void *owner)
{
    etcp_parcel_unref(owner);
}

int etcp_conn_send_parcel(etcp_conn *c, etcp_parcel *parcel)
{
    lender l = {release_parcel, parcel, 0, 1};
    etcp_packet packet;
    int rc;

    etcp_conn_check(c);
    rc = check_output(c);
    if (rc == 0)
        rc = etcp_session_encode_parcel(c->session, parcel, &packet);
    if (rc == 0)
        rc = put_message(c, &packet, &l);
    if (l.is_queued)
        (void)etcp_parcel_ref(parcel);
    if (rc == 0)
        count_message(c, parcel->len);
    release_finished(c);
    return rc;
}

/* ---- waiting for the peer -------------------------------------------------------------------- */

int etcp_conn_wants_drain(const etcp_conn *c, size_t *mark)
{
    size_t high = c->limits.high_water;

    if (c->entry.loop) {
        if (mark)
            *mark = high / 2; /* not just below: the next message would wait again */
        return etcp_conn_is_full(c) && c->limits.when_full == ETCP_FULL_WAIT;
    }
    if (mark)
        *mark = 0;
    return c->out.len > 0;
}

int etcp_conn_give_up(etcp_conn *c)
{
    (void)etcp_conn_set_error(c, ETCP_ETIMEOUT, "Timed out waiting for the peer to read");
    (void)etcp_conn_end_input(c, ETCP_ETIMEOUT);
    etcp_conn_end_output(c);
    etcp_conn_watch(c);
    etcp_conn_pend(c);
    return ETCP_ETIMEOUT;
}

int etcp_conn_await_written(etcp_conn *c, size_t mark, uint64_t *waited_since)
{
    etcp_conn_check(c);
    if (c->entry.loop)
        etcp_conn_flush_gathered(c->entry.loop);
    while (c->out.len > mark) {
        size_t before = c->out.len;
        uint64_t now;
        uint64_t left = UINT64_MAX;
        int rc = etcp_conn_flush(c);

        if (rc < 0)
            return rc;
        if (c->out.len <= mark)
            break;
        now = etcp_clock_ms();
        /* In a loop others wait, too: no reading by drops makes them wait for longer. */
        if (!*waited_since || (c->out.len < before && !c->entry.loop))
            *waited_since = now;
        if (c->limits.send_timeout_ms)
            left = etcp_clock_left(*waited_since, c->limits.send_timeout_ms, now);
        if (left == 0)
            return etcp_conn_give_up(c);
        rc = etcp_socket_wait(c->entry.fd, POLLOUT,
                              left == UINT64_MAX ? -1 : etcp_clock_as_timeout(left));
        if (rc < 0)
            return errno == EINTR ? ETCP_EINTR : write_failed(c, errno);
    }
    return c->output_ended ? send_error(c) : 0;
}
