package Net::EasyTCP::Cluster;

# broadcast() to the clients of many processes, through a stream of Redis.
#
# An entry of the stream has these fields:
#
#   n   its number in the stream: a hole shows that entries are lost
#   h   "1 WRITER NUMBER FLAGS SERIALS": who wrote it, as the which of his, whether it is a structure and
#       has a room, and which clients of the writer's are left out, by commas
#   r   the room, or nothing
#   d   the message, as peers of this release take it
#   o   the same for all others, or nothing: there is no difference
#
# Two connections: the reader always waits for what comes after the last entry that it knows, the writer
# adds what waits in the queue. At most one request of each is under way, so that its socket is readable
# exactly when there is something to do; all waiting is the server's. What was sent when a connection
# broke is sent again, and readers know by the writer's numbers what they have had.

use 5.008009;
use strict;
use warnings;

use Net::EasyTCP ();
use Scalar::Util ();

# Seconds: one request waits for entries, connecting may take, an answer may take once it began, the pause
# before another attempt is at least and at most. So many looks, each after $BLOCK, are waited for an answer.
my ($BLOCK, $CONNECT, $ANSWER, $PAUSE_MIN, $PAUSE_MAX, $LOOKS) = (5, 1, 2, 0.5, 30, 3);

# How many entries are asked for, delivered in one go, and added at once; and about how many bytes.
my ($COUNT, $TURN, $BATCH, $BYTES) = (200, 64, 200, 1 << 20);

# Bytes of one message: Redis closes the connection when it gets more than 512 MB, again and again.
my $LONGEST = 400_000_000;

# After any other entry.
my $LAST_OF_ALL = '99999999999999999999-0';

# Writers that are remembered, twice.
my $WRITERS = 5000;

# Of an entry. With the last, the field for older clients holds two forms.
my ($STRUCTURE, $ROOM, $OLDER, $NUMBERS) = (1, 2, 4, 8);
my $SERIAL = qr/[0-9]{1,15}/;
my $HEADER = qr/\A1 ([0-9a-f]{16}) ([1-9][0-9]{0,14}) ([0-9]|1[0-5]) ((?:$SERIAL(?:,$SERIAL){0,999})?)\z/;

# The number in the stream goes up only if the entry is there.
my $ADD = <<'LUA';
local n = tonumber(redis.call('GET', KEYS[2]) or '0')
for i = 2, #ARGV, 4 do
  n = n + 1
  redis.call('XADD', KEYS[1], 'MAXLEN', '~', ARGV[1], '*', 'n', string.format('%.0f', n),
    'h', ARGV[i], 'r', ARGV[i + 1], 'd', ARGV[i + 2], 'o', ARGV[i + 3])
  redis.call('SET', KEYS[2], string.format('%.0f', n))
end
return n
LUA

# ---- making ------------------------------------------------------------------------------------

sub new {
    my ($class, %args) = @_;
    my $self = _made($class, \%args) or return undef;
    my (undef, $why) = _try(sub { (my $file = "$self->{class}.pm") =~ s{::}{/}g; require $file });
    return _fail("$self->{class} cannot be loaded: $why") if $why ne '';
    _begin($self);
    foreach my $name (qw(reader writer)) {
        $why = _open($self, $name);
        $self->{why} = $why if $why ne '';
        return _fail("Cannot connect to Redis: $self->{why}") if $why ne '' || !_is_ready($self, $name);
    }
    $self->{joined} = 1;
    _look_later($self);
    return $self;
}

sub _made {
    my ($class, $args) = @_;
    my $server = $args->{server};
    return _fail('Invalid server: must be a server of Net::EasyTCP')
        if !_is_ours($server) || Net::EasyTCP::mode($server) ne 'server';
    return _fail('Invalid stream: must be a name') if !defined $args->{stream} || "$args->{stream}" eq '';
    return _fail('Invalid gap: must be a code reference')
        if defined $args->{gap} && (Scalar::Util::reftype($args->{gap}) || '') ne 'CODE';
    my %number = (maxlen => 10000, queue => 1000);
    foreach my $name (sort keys %number) {
        my $value = defined $args->{$name} ? $args->{$name} : $number{$name};
        return _fail("Invalid $name '$value': must be a number between 1 and 1000000000")
            if $value !~ /\A[1-9][0-9]{0,9}\z/ || $value > 1e9;
        $number{$name} = $value;
    }
    my $redis = _address($args->{redis}) or return undef;
    my $self  = bless {
        %number,
        class   => defined $args->{class} ? "$args->{class}" : 'Redis',
        gap     => $args->{gap},
        longest => $LONGEST,
        redis   => $redis,
        server  => $server,
        stream  => "$args->{stream}",
    }, $class;
    return _fail("Invalid class '$self->{class}': must be the name of one")
        if $self->{class} !~ /\A[A-Za-z_]\w*(?:::\w+)*\z/;
    # In a cluster of Redis itself, both belong to the same slot.
    $self->{counter} = $self->{stream} =~ /\{[^}]+\}/ ? "$self->{stream}:number" : "{$self->{stream}}:number";
    Scalar::Util::weaken($self->{server});
    return $self;
}

sub _is_ours {
    my ($object) = @_;
    return Scalar::Util::blessed($object) && $object->isa('Net::EasyTCP');
}

# What the class is made with.
sub _address {
    my ($given) = @_;
    my %usual = (cnx_timeout => $CONNECT, read_timeout => $ANSWER, write_timeout => $ANSWER);
    return { %usual, %$given, reconnect => 0 } if ref $given eq 'HASH';
    return _fail('Invalid redis: must be an address, or a reference to a hash of options') if ref $given;
    $given = '127.0.0.1:6379' if !defined $given;
    return { %usual, $given =~ m{\A/} ? 'sock' : 'server', $given };
}

# What belongs to a process: at first, and after each fork.
sub _begin {
    my ($self) = @_;
    _drop($self, $_) foreach qw(reader writer);
    $self->{of}       = _process();
    $self->{me}       = _new_name();
    $self->{written}  = 0;
    $self->{queue_of} = [];
    $self->{failures} = { reader => 0, writer => 0 };
    # Whoever came with the process goes on after what it has seen; nobody misses what was before.
    if (!defined $self->{position} || !Net::EasyTCP::clientlist($self->{server})) {
        $self->{position} = $self->{number} = undef;
        $self->{inbox} = [];
        $self->{seen} = $self->{seen_before} = {};
    }
    return;
}

# A thread is one, too: it has copies of all, and nothing of its own.
sub _process {
    return defined &threads::tid ? "$$ " . threads->tid : $$;
}

# 64 random bits. The numbers that perl would draw may be the same in all children of one process.
sub _new_name {
    my $bytes = '';
    if (open my $random, '<', '/dev/urandom') {
        sysread $random, $bytes, 8;
    }
    return unpack 'H*', $bytes if length $bytes == 8;
    return sprintf '%04x%04x%08x', $$ & 0xffff, rand 65536, time & 0xffffffff;
}

sub _fail {
    $@ = shift;
    return undef;
}

# Runs code that uses Redis. Returns its value and '', or undef and why it died.
sub _try {
    my ($code) = @_;
    local ($@, $!);
    local $SIG{PIPE} = 'IGNORE';
    local $SIG{__DIE__};
    my $value;
    return ($value, '') if eval { $value = $code->(); 1 };
    my $why = "$@";
    $why =~ s/,? at \S+ line [0-9]+\.?\s.*\z//s;
    $why =~ s/\s+\z//;
    return (undef, $why ne '' ? $why : 'Unknown error');
}

# A subroutine that calls another with us, if we are still there.
sub _weakly {
    my ($self, $code, @more) = @_;
    Scalar::Util::weaken($self);
    return sub { $code->($self, @more) if $self };
}

# ---- connections -------------------------------------------------------------------------------

# Connects. Returns '', or why not.
sub _open {
    my ($self, $name) = @_;
    my $link = { looks => 0 };
    my (undef, $why) = _try(sub {
        $link->{redis}  = $self->{class}->new(%{ $self->{redis} });
        $link->{handle} = _socket_of($link->{redis}) or die "$self->{class} has no socket to watch\n";
    });
    return $why if $why ne '';
    return 'The server is gone' if !$self->{server};
    my $code = _weakly($self, \&_readable, $name);
    (undef, $why) = _try(sub { Net::EasyTCP::watch($self->{server}, $link->{handle}, $code) or die "$@\n" });
    return $why if $why ne '';
    $self->{link}{$name} = $link;
    # Whether scripts may be used is found out by one that adds nothing.
    $name eq 'reader' ? _ask($self, before => 'get', $self->{counter}) : _add($self, 'tried');
    return '';
}

# Waits until a new connection is of use. False: it is not.
sub _is_ready {
    my ($self, $name) = @_;
    _take($self, $name) while $self->{link}{$name} && !$self->{link}{$name}{ready};
    return $self->{link}{$name};
}

sub _socket_of {
    my ($redis) = @_;
    my $type = Scalar::Util::reftype($redis);
    return $type && $type eq 'HASH' ? $redis->{sock} : undef;
}

sub _drop {
    my ($self, $name) = @_;
    my $link = delete $self->{link}{$name} or return;
    Net::EasyTCP::unwatch($self->{server}, $link->{handle}) if $self->{server};
    return;
}

# A connection is of no use any more: another one is made by and by.
sub _lost {
    my ($self, $name, $why) = @_;
    _drop($self, $name);
    $self->{why} = $why;
    my $n     = $self->{failures}{$name}++;
    my $pause = $n < 6 ? $PAUSE_MIN * 2**$n : $PAUSE_MAX;
    my $part  = hex(substr $self->{me}, 2 * $n % 12, 4) / 65536;
    _wake($self, $pause * (0.5 + $part), \&_again, $name);
    return;
}

sub _again {
    my ($self, $name) = @_;
    return if _is_reborn($self) || $self->{link}{$name};
    my $why = _open($self, $name);
    _lost($self, $name, $why) if $why ne '';
    return;
}

# Calls code in so many seconds; in a forked child, at once.
sub _wake {
    my ($self, $seconds, $code, @more) = @_;
    Net::EasyTCP::_wake($self->{server}, $seconds, _weakly($self, $code, @more)) if $self->{server};
    return;
}

# In a forked child the connections are the parent's. Returns whether they were.
sub _is_reborn {
    my ($self) = @_;
    return 0 if $self->{of} eq _process() || !$self->{server};
    _begin($self);
    foreach my $name (qw(reader writer)) {
        my $why = _open($self, $name);
        _lost($self, $name, $why) if $why ne '';
    }
    _look_later($self);
    return 1;
}

# A connection that says nothing for too long is taken for broken.
sub _look {
    my ($self, $number) = @_;
    return if _is_reborn($self) || $number != $self->{look};
    foreach my $name (qw(reader writer)) {
        my $link = $self->{link}{$name};
        _lost($self, $name, 'No answer in time') if $link && $link->{waits} && ++$link->{looks} > $LOOKS;
    }
    _look_later($self);
    return;
}

sub _look_later {
    my ($self) = @_;
    _wake($self, $BLOCK, \&_look, ++$self->{look});
    return;
}

# What is done with the answer to a request, and on which connection.
my %ANSWERED = (
    before  => [ reader => \&_learn_before ],
    last    => [ reader => \&_learn_last ],
    after   => [ reader => \&_find_place ],
    entries => [ reader => \&_arrived ],
    compare => [ reader => \&_compare ],
    tried   => [ writer => \&_added ],
    added   => [ writer => \&_added ],
);

# Sends a request. Its answer is taken when the socket is readable.
sub _ask {
    my ($self, $waits, $command, @arguments) = @_;
    my $name = $ANSWERED{$waits}[0];
    my $link = $self->{link}{$name};
    Scalar::Util::weaken(my $weak = $link);
    @$link{qw(waits command looks)} = ($waits, $command, 0);
    # Not made inside the other one: perl 5.40 keeps that, and so the link, as long as this lives.
    my $answered = sub { $weak->{answer} = [@_] if $weak };
    my (undef, $why) = _try(sub { $link->{redis}->$command(@arguments, $answered) });
    _lost($self, $name, $why) if $why ne '';
    return;
}

sub _is_readable {
    my ($handle) = @_;
    my $fd = fileno $handle;
    return 1 if !defined $fd;
    vec(my $bits = '', $fd, 1) = 1;
    return (select $bits, undef, undef, 0) > 0;
}

# Something came, or has ended.
sub _readable {
    my ($self, $name) = @_;
    return if _is_reborn($self);
    my $link = $self->{link}{$name};
    _take($self, $name) if $link && _is_readable($link->{handle});
    return;
}

# Takes the answer to the request that is under way, and waits for it if need be.
sub _take {
    my ($self, $name) = @_;
    my $link = $self->{link}{$name};
    my $waits = $link->{waits} or return _lost($self, $name, 'Redis closed the connection');
    my (undef, $why) = _try(sub { $link->{redis}->wait_one_response; 1 });
    my $answer = delete $link->{answer};
    return _lost($self, $name, $why) if $why ne '';
    return _lost($self, $name, 'Redis closed the connection') if !$answer;
    return _lost($self, $name, "[$link->{command}] $answer->[1]") if defined $answer->[1];
    delete $link->{waits};
    $ANSWERED{$waits}[1]->($self, $link, $answer->[0]);
    return;
}

# ---- writing -----------------------------------------------------------------------------------

sub broadcast {
    my ($self, $data, %options) = @_;
    my $server = $self->{server} or return _fail('The server is gone');
    _is_ready($self, 'writer') if _is_reborn($self);    # a child may end at once
    my $flags = 0;
    my $room = '';
    ($flags, $room) = ($ROOM, "$options{room}") if defined $options{room};
    utf8::encode($room);
    my @except = _serials($options{except});
    return _fail('Invalid except: must be a client, or a reference to an array of at most 1000 clients')
        if @except && !defined $except[0] || @except > 1000;
    my ($is_structure, $best, $numbers, $older) = Net::EasyTCP::_forms($server, $data) or return undef;
    return _fail('Error sending data: size limit exceeded')
        if grep { defined $_ && length $_ > $self->{longest} } $best, $numbers, $older;
    $flags |= $STRUCTURE if $is_structure;
    $flags |= $OLDER     if defined $older;
    ($flags, $older) = ($flags | $NUMBERS, pack 'N/a* a*', $numbers, $older) if defined $numbers;
    # A burst waits for Redis as long as that answers.
    _take($self, 'writer') while @{ $self->{queue_of} } >= $self->{queue} && _is_under_way($self);
    return _fail('Cluster queue is full') if @{ $self->{queue_of} } >= $self->{queue};
    my $header = join ' ', 1, $self->{me}, ++$self->{written}, $flags, join ',', @except;
    push @{ $self->{queue_of} }, [ $header, $room, $best, defined $older ? $older : '' ];
    _send($self);
    return 1;
}

# The serial numbers of clients; undef if they are none.
sub _serials {
    my ($given) = @_;
    my @clients = ref $given eq 'ARRAY' ? @$given : defined $given ? $given : ();
    foreach my $client (@clients) {
        return undef if !_is_ours($client);
        $client = Net::EasyTCP::serial($client);
    }
    return @clients;
}

sub _is_under_way {
    my ($self) = @_;
    my $link = $self->{link}{writer};
    return $link && $link->{ready} && $link->{waits};
}

# Adds as much as is good of what waits.
sub _send {
    my ($self) = @_;
    my $link = $self->{link}{writer};
    my $queue = $self->{queue_of};
    return if !$link || !$link->{ready} || $link->{waits} || !@$queue;
    my ($count, $bytes) = (0, 0);
    while ($count < @$queue && $count < $BATCH && $bytes < $BYTES) {
        $bytes += length($queue->[$count][2]) + length $queue->[$count][3];
        $count++;
    }
    $link->{under_way} = $count;
    _add($self, 'added', map { @$_ } @$queue[ 0 .. $count - 1 ]);
    return;
}

sub _add {
    my ($self, $waits, @messages) = @_;
    _ask($self, $waits, 'eval', $ADD, 2, @$self{qw(stream counter maxlen)}, @messages);
    return;
}

sub _added {
    my ($self, $link) = @_;
    splice @{ $self->{queue_of} }, 0, delete $link->{under_way} if $link->{under_way};
    $link->{ready} = 1;
    $self->{failures}{writer} = 0;
    _send($self);
    return;
}

sub connected {
    my ($self) = @_;
    return _fail('The server is gone') if !$self->{server};
    return 1 if !grep { !$_ || !$_->{ready} } @{ $self->{link} }{qw(reader writer)};
    return _fail(defined $self->{why} ? $self->{why} : 'Not connected');
}

# ---- reading -----------------------------------------------------------------------------------

# Which of two entries is the older one, by their numbers in Redis.
sub _is_before {
    my ($one, $other) = @_;
    my @one   = split /-/, $one;
    my @other = split /-/, $other;
    foreach my $i (0, 1) {
        my $order = length $one[$i] <=> length $other[$i] || $one[$i] cmp $other[$i];
        return $order < 0 if $order;
    }
    return 0;
}

sub _count_of {
    my ($given) = @_;
    return defined $given && !ref $given && $given =~ /\A[0-9]{1,15}\z/ ? $given : 0;
}

# The end of the stream: its last entry, and the number of entries up to there. The last entry may be lost
# although it was counted, so that its own number is that only if there were others meanwhile.
sub _end_of {
    my ($link) = @_;
    my ($before, $after) = map { _count_of(delete $link->{$_}) } qw(before after);
    my $entries = delete $link->{last};
    my $entry = ref $entries eq 'ARRAY' && @$entries ? _parsed($entries->[0]) : undef;
    return ('0-0', $before) if !$entry;
    my $number = $entry->{number};
    return ($entry->{id}, $before < $after && defined $number && $number > $before ? $number : $before);
}

sub _learn_before {
    my ($self, $link, $added) = @_;
    $link->{before} = $added;
    _ask($self, last => 'xrevrange', $self->{stream}, '+', '-', 'COUNT', 1);
    return;
}

sub _learn_last {
    my ($self, $link, $entries) = @_;
    $link->{last} = $entries;
    _ask($self, after => 'get', $self->{counter});
    return;
}

# A new reader goes on where we were, unless the stream is another one. Who has no place yet begins at the
# end; unless it has just joined, its clients have missed what was before.
sub _find_place {
    my ($self, $link, $added) = @_;
    $link->{after} = $added;
    $link->{ready} = 1;
    my ($position, $number) = _end_of($link);
    if (!defined $self->{position} || _is_before($position, $self->{position})) {
        my $clients = $self->{joined} && Net::EasyTCP::clientlist($self->{server});
        push @{ $self->{inbox} }, 'gap' if defined $self->{position} || $clients;
        @$self{qw(position number)} = ($position, $number);
    }
    delete $self->{doubt};
    _deliver($self);
    return;
}

# Asks for what comes next, when all that came is delivered.
sub _listen {
    my ($self) = @_;
    my $link = $self->{link}{reader};
    return if !$link || !$link->{ready} || $link->{waits} || @{ $self->{inbox} };
    $self->{count} ||= $COUNT;
    my @from = ('STREAMS', $self->{stream}, $self->{position});
    _ask($self, entries => 'xread', 'COUNT', $self->{count}, 'BLOCK', 1000 * $BLOCK, @from);
    return;
}

sub _arrived {
    my ($self, $link, $streams) = @_;
    $self->{failures}{reader} = 0;
    return _ask($self, compare => 'get', $self->{counter}) if !defined $streams;
    my $entries = ref $streams eq 'ARRAY' && ref $streams->[0] eq 'ARRAY' ? $streams->[0][1] : undef;
    return _lost($self, 'reader', 'Redis sent no stream') if ref $entries ne 'ARRAY';
    my $bytes = 0;
    foreach my $given (@$entries) {
        my $entry = _parsed($given) or return _lost($self, 'reader', 'Redis sent no entry');
        $bytes += $entry->{bytes};
        $self->{position} = $entry->{id};
        push @{ $self->{inbox} }, $entry if defined $entry->{number};
    }
    my $fits = $bytes ? int(@$entries * $BYTES / $bytes) : $COUNT;
    $self->{count} = $fits < 1 ? 1 : $fits < $COUNT ? $fits : $COUNT;
    delete $self->{doubt};
    return _deliver($self);
}

# Nothing came for a while. If something was added all the same, it is gone: the second time, as the first
# time it may be on its way.
sub _compare {
    my ($self, $link, $added) = @_;
    $added = _count_of($added);
    $self->{number} = $added if !defined $self->{number};
    if ($added == $self->{number}) {
        delete $self->{doubt};
    } elsif ($self->{doubt}) {
        $self->{position} = $LAST_OF_ALL;
        return _ask($self, before => 'get', $self->{counter});
    } else {
        $self->{doubt} = 1;
    }
    return _listen($self);
}

# What one entry says: its id, and bytes; the rest only if it is one of ours. undef: it is no entry.
sub _parsed {
    my ($given) = @_;
    return undef if ref $given ne 'ARRAY' || @$given < 2;
    my ($id, $fields) = @$given;
    return undef if !defined $id || $id !~ /\A[0-9]{1,20}-[0-9]{1,20}\z/;
    my $entry = { id => $id, bytes => 0 };
    return $entry if ref $fields ne 'ARRAY';
    foreach my $field (@$fields) {
        $entry->{bytes} += length $field if defined $field && !ref $field;
    }
    return $entry if @$fields != 10 || grep { !defined $_ || ref $_ || !utf8::downgrade($_, 1) } @$fields;
    my %field = @$fields;
    return $entry if grep { !exists $field{$_} } qw(n h r d o);
    return $entry if $field{n} !~ /\A[1-9][0-9]{0,14}\z/;
    return $entry if $field{h} !~ $HEADER;
    @$entry{qw(number writer which flags except)} = ($field{n}, $1, $2, $3, $4);
    @$entry{qw(room data older)} = @field{qw(r d o)};
    return $entry;
}

# Delivers what came. Whoever does this in our midst, from the code for gaps, goes on with the next.
sub _deliver {
    my ($self) = @_;
    my $left = $TURN;
    while (defined(my $item = shift @{ $self->{inbox} })) {
        if (!$left--) {
            unshift @{ $self->{inbox} }, $item;
            _resume($self);
            return;
        }
        if (ref $item) { _entry($self, $item) }
        else           { _tell_gap($self) }
        return if !$self->{server};
    }
    _listen($self);
    return;
}

sub _resume {
    my ($self) = @_;
    _wake($self, 0, \&_go_on) if !$self->{resumes};
    $self->{resumes} = 1;
    return;
}

sub _go_on {
    my ($self) = @_;
    $self->{resumes} = 0;
    return _is_reborn($self) ? undef : _deliver($self);
}

# An exception of the code is the program's: the rest is delivered later.
sub _tell_gap {
    my ($self) = @_;
    _resume($self);
    $self->{gap}->($self) if $self->{gap};
    return;
}

sub _entry {
    my ($self, $entry) = @_;
    my $number = $entry->{number};
    if (defined $self->{number} && $number != $self->{number} + 1) {
        $self->{number} = $number - 1;
        unshift @{ $self->{inbox} }, 'gap', $entry;
        return;
    }
    $self->{number} = $number;
    _send_on($self, $entry) if _is_new($self, $entry);
    return;
}

# Whether we have not had it before, from a writer that could not know whether it had arrived.
sub _is_new {
    my ($self, $entry) = @_;
    my $writer = $entry->{writer};
    my $last = $self->{seen}{$writer} || $self->{seen_before}{$writer} || 0;
    return 0 if $entry->{which} <= $last;
    @$self{qw(seen seen_before)} = ({}, $self->{seen}) if keys %{ $self->{seen} } >= $WRITERS;
    $self->{seen}{$writer} = $entry->{which};
    return 1;
}

sub _send_on {
    my ($self, $entry) = @_;
    my $server = $self->{server};
    my $flags  = $entry->{flags};
    my $to;
    if ($flags & $ROOM) {
        my $room = $entry->{room};
        return if !utf8::decode($room);
        $to = [ Net::EasyTCP::room($server, $room) ];
        return if !@$to;
    }
    my $except;
    if ($entry->{writer} eq $self->{me}) {
        $except = [ grep { $_ } map { Net::EasyTCP::client($server, $_) } split /,/, $entry->{except} ];
    }
    my ($numbers, $older);
    if ($flags & $NUMBERS) {
        return if !eval { ($numbers, $older) = unpack 'N/a* a*', $entry->{older}; 1 } || !defined $older;
    } elsif ($flags & $OLDER) {
        $older = $entry->{older};
    }
    Net::EasyTCP::_relay($server, $flags & $STRUCTURE, $entry->{data}, $numbers, $older, $to, $except);
    return;
}

sub DESTROY {
    my ($self) = @_;
    return if ${^GLOBAL_PHASE} && ${^GLOBAL_PHASE} eq 'DESTRUCT';
    local ($@, $!, $?);
    _drop($self, $_) foreach qw(reader writer);
    return;
}

1;

__END__

=encoding utf8

=head1 NAME

Net::EasyTCP::Cluster - one broadcast to the clients of many processes and machines

=head1 SYNOPSIS

    use Net::EasyTCP;
    use Net::EasyTCP::Cluster;

    my $server = Net::EasyTCP->new(mode => 'server', port => 2345) or die $@;
    my $cluster = Net::EasyTCP::Cluster->new(
        server => $server,
        redis  => 'host:6379',
        stream => 'chat',
        gap    => sub { $server->broadcast('Please fetch the state again') },
    ) or die $@;

    $server->setcallback(
        data => sub {
            my $client = shift;
            $cluster->broadcast(scalar $client->data, room => 'lobby', except => $client) or warn $@;
        },
    );
    $server->start;

=head1 DESCRIPTION

Several servers (L<Net::EasyTCP>) that have the same stream in the same Redis are a cluster: what one of
them broadcasts reaches the clients of all. Valkey does as well as Redis. Needs Redis 5 or later, and
L<Redis> (Debian: libredis-perl), which is loaded by C<new>.

Each worker reads the stream in the loop of its server; nothing else runs, and nothing waits. Its own
messages come back to it through the stream, too, so that all clients of all workers get all messages in one
order.

What is promised: a client that stays connected gets each message at most once, and in order. If its worker
missed one, C<gap> is called before the next one is delivered; nothing is lost in silence. Nothing is kept
for clients that are not there. Who broadcasts is not told who received.

=head1 METHODS

=head2 new

    my $cluster = Net::EasyTCP::Cluster->new(%options) or die $@;

Connects to Redis and joins the cluster: what is broadcast from now on is delivered. Returns C<undef>, with
a text in C<$@>, if that fails. Keep the object: with it, the worker leaves the cluster. It keeps no server
alive; when its server is gone it does nothing any more.

=over

=item server

The server whose clients are meant. One cluster for each server and stream, or its clients get all twice.

=item redis

Where Redis is: C<host:port> (C<127.0.0.1:6379> unless given), the path of a Unix-domain socket, or a
reference to a hash of options of C<< Redis->new >>, for example C<< { server => 'host:6379', password =>
'secret' } >>.

=item stream

The name of the stream, the same for all workers. The key C<{NAME}:number> belongs to it, too: how many
messages were added.

=item gap

Code that is called with the cluster when messages were lost for this worker. See L</Gaps>.

=item maxlen

How many messages Redis keeps, about (10000): so many may come while a worker is busy, or away.

=item queue

How many messages wait at most for a Redis that is away (1000).

=item class

The class to use in place of C<Redis>: one with the same methods and the entry C<sock>, such as a subclass.

=back

=head2 broadcast

    $cluster->broadcast($data) or warn $@;
    $cluster->broadcast($data, room => $name, except => $client) or warn $@;

As C<broadcast> of a server: to the clients in C<room>, or to all, but not to C<except>, which is a client
of this server or a reference to an array of them. The data is frozen at once. Returns true when it is on
its way to Redis or waits for it, C<undef> with a text in C<$@> otherwise. Structures that cannot be sent
are fatal, as in C<send>.

While Redis answers, a burst of more than C<queue> messages waits for it here. Rooms are those of
L<Net::EasyTCP/joinroom, leaveroom>: each worker knows its own clients.

=head2 connected

    $cluster->connected or warn $@;

Whether there are connections to Redis. If not, C<$@> says why: what was last tried.

=head1 GAPS AND FAILURES

=head2 Gaps

Messages are numbered in the stream, so that every worker sees when some are missing. That happens when it
was busy or away for longer than C<maxlen> messages, when the stream or its counter is deleted, and when
Redis loses what it had: when it is started again without having saved, for instance. C<gap> is called once
for each hole, in its place in the order. After lost messages that are followed by no others, it is called
within some ten seconds. It may be called although nothing was lost: when Redis comes back without what all
had read already.

What to do is the program's affair: tell the clients of this worker to fetch their state, or fetch it for
them. The code may use the cluster and its server, and drop both. An exception goes through the loop, as
that of a callback.

=head2 Redis away

A connection that breaks is made again after half a second, then after one, two and so on, up to 30 seconds,
each time between a half and one and a half of that. Meanwhile messages wait, C<queue> of them. Afterwards
each worker goes on where it was. What was sent when the connection broke is sent again; clients get it once
all the same.

Whatever Redis does, the server goes on: without the cluster, if need be. It waits for Redis only while it
connects (a second at most, C<cnx_timeout>) and tells its password, and while the rest of an answer that has
begun is coming (2 seconds at most without a byte, C<read_timeout>). A connection that does not answer for 15
seconds is taken for broken.

=head2 Forks

Connections belong to a process. In a forked child the cluster makes its own, the next time its server's
loop runs or C<broadcast> is called. If its server has no clients then, it begins with what comes next;
otherwise it goes on where its parent was. The better place for C<new> is in the worker.

=head1 LIMITS

=over

=item *

Redis.pm reads some 10,000 messages a second in one worker, and all workers read all messages. Above that,
use several streams, each with its rooms.

=item *

Delay: one round trip to Redis more than C<broadcast> of the server itself.

=item *

One Redis, or one primary with replicas. Messages that a replica has not got when it takes over are a gap.

=item *

Whoever can write to the stream can send anything to all clients. What is not the cluster's is left out, and
cannot end a server, but nothing is signed. Protect Redis by a password, by its socket's permissions, by the
network.

=item *

A message longer than C<maxmessage> of a worker is left out there. Those of more than 400,000,000 bytes are
refused, as Redis takes 512 MB at most.

=item *

Redis::Fast has no socket that could be watched.

=item *

Who is in a room on other workers cannot be asked.

=back

=head1 TROUBLESHOOTING

Texts in C<$@> of C<new>:

=over

=item Invalid server: must be a server of Net::EasyTCP

=item Invalid stream: must be a name

=item Invalid gap: must be a code reference

=item Invalid redis: must be an address, or a reference to a hash of options

=item Invalid class 'I<value>': must be the name of one

=item Invalid I<option> 'I<value>': must be a number between 1 and 1000000000

See the options above.

=item I<class> cannot be loaded: I<reason>

Redis.pm is not installed: C<apt-get install libredis-perl>, or C<cpan Redis>.

=item Cannot connect to Redis: I<reason>

Nobody listens there, a password is required (C<NOAUTH>), the key of that name is no stream (C<WRONGTYPE>),
or scripts are not allowed (C<NOPERM>).

=item Cannot connect to Redis: I<class> has no socket to watch

The class is not like Redis.pm.

=back

Texts in C<$@> of C<broadcast>, beside those of L<Net::EasyTCP/send and broadcast>:

=over

=item Cluster queue is full

Redis is away, and as many messages wait for it as may.

=item Error sending data: size limit exceeded

The message is longer than C<maxmessage>, or than Redis takes.

=item Invalid except: must be a client, or a reference to an array of at most 1000 clients

=item The server is gone

The server was dropped, or never kept.

=back

Texts in C<$@> of C<connected>: C<The server is gone>, and

=over

=item No answer in time

Redis, or the network, hangs.

=item Redis closed the connection

=item Redis sent no stream

=item Redis sent no entry

Is it Redis? Something else answers there.

=item Not connected

=item Unknown error

=back

=head1 SEE ALSO

L<Net::EasyTCP>, L<Net::EasyTCP::Scaling>, F<examples/chat-cluster.pl>, L<Redis>

=cut
