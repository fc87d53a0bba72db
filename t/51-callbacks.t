# When callbacks are called, in which order, with what; what the objects in them keep.
use strict;
use warnings;
use Test::More;
use lib 't/lib';
use EasyTCPTest;
use OldPeer;
use Net::EasyTCP;
use Scalar::Util ();

my ($server, $port) = new_server(donotencrypt => 1, donotcompress => 1);
my @log;

sub peer {
    return OldPeer->client(version => '0.19', port => $port, idle => loop_of($server), @_)
        || BAIL_OUT(OldPeer->error);
}

# One more round for what might come too much.
sub settle { $server->do_one_loop foreach 1 .. 3; return }

sub logged {
    my ($expected, $name) = @_;
    run_until($server, sub { @log >= @$expected });
    settle();
    is_deeply([@log], $expected, $name);
    @log = ();
    return;
}

$server->setcallback(
    connect    => sub { $_[0]{name} = 'kept'; push @log, 'connect' },
    data       => sub { push @log, "data $_[0]{name} " . $_[0]->data },
    disconnect => sub { push @log, "disconnect $_[0]{name}" },
);

{
    my $peer = peer();
    logged(['connect'], 'connect, once');
    $peer->send('a');
    logged(['data kept a'], 'data; the user\'s own keys are there');
    $peer->send_plain('');
    $peer->send_plain('0');
    logged([ 'data kept ', 'data kept 0' ], 'empty and "0" are messages');
    $peer->raw_send(join '', map { packet(5, $_) } 1 .. 500);
    logged([ map { "data kept $_" } 1 .. 500 ], '500 messages in one write: each once, in order');
    $peer->raw_send(packet(5, 'x') . packet(5, 'y'));
    $peer->close;
    logged([ 'data kept x', 'data kept y', 'disconnect kept' ],
        'what came before the end is delivered before disconnect');
}
{
    my $peer = peer();
    logged(['connect'], 'connect');
    $peer->reset_connection;
    logged(['disconnect kept'], 'a reset ends it too');
}
{
    my $sock = raw_connect($port);
    settle();
    close $sock;
    settle();
    logged([], 'no callback for a connection that never negotiated');
}
{
    # The first message together with the end of the negotiation.
    my $sock = raw_connect($port);
    my $idle = loop_of($server);
    while (my ($flags, $payload) = read_packet($sock, $idle)) {
        my ($tag) = split /\0/, $payload;
        if ($tag eq 'EN') {
            syswrite $sock, packet(1, 'EN') . packet(5, 'early') . packet(5, 'bird');
            last;
        }
        syswrite $sock, packet(1, $tag eq 'VE' ? "VE\0000.19" : $tag =~ /^CO|^SV/ ? $payload : 'NO');
    }
    logged([ 'connect', 'data kept early', 'data kept bird' ],
        'messages in the same read as EN are delivered, after connect');
    close $sock;
    logged(['disconnect kept'], 'and the end');
}

# A data callback that does not fetch: each message is announced once and stays in the bucket.
{
    my @got;
    my $object;
    $server->setcallback(connect => sub { push @log, 'connect' }, disconnect => sub { },
        data => sub { $object = shift; push @log, 'data' });
    my $peer = peer();
    logged(['connect'], 'connect');
    $peer->raw_send(packet(5, 'one') . packet(5, 'two') . packet(5, 'three'));
    logged([ 'data', 'data', 'data' ], 'one callback per message');
    push @got, scalar $object->data foreach 1 .. 3;
    is_deeply(\@got, [qw(one two three)], 'data() hands them out later, in order');
    is($object->data, undef, 'and no more');
    $peer->close;
    settle();
    @log = ();
}

# Two messages fetched in one callback: the other callback finds nothing, or is not made.
{
    my @got;
    $server->setcallback(data => sub { push @got, scalar $_[0]->data, scalar $_[0]->data });
    my $peer = peer();
    $peer->raw_send(packet(5, 'one') . packet(5, 'two') . packet(5, 'three') . packet(5, 'four'));
    run_until($server, sub { grep { defined && $_ eq 'four' } @got });
    settle();
    is_deeply([ grep { defined } @got ], [qw(one two three four)], 'nothing is handed out twice');
    $peer->close;
    settle();
    @log = ();
}

# receive() on the server's side of a connection, inside callbacks: a conversation in one event.
foreach my $where (qw(connect data)) {
    my ($answer, $done);
    my $talk = sub {
        my $client = shift;
        return if $done;
        $client->data if $where eq 'data';
        $client->send('name?');
        $answer = $client->receive(30);
        $done = 1;
        $client->send(defined $answer ? "hello $answer" : "error $@");
    };
    my ($own, $own_port) = new_server(donotencrypt => 1, donotcompress => 1);
    $own->setcallback(data => sub { push @log, 'data ' . $_[0]->data }, $where => $talk);
    my $child = spawn(sub {
        my $me = shift;
        my $peer = OldPeer->client(version => '0.19', port => $own_port) or die OldPeer->error;
        $peer->send('start') if $where eq 'data';
        $me->report($peer->receive);
        $peer->send('Perl');
        $me->report($peer->receive);
        $me->hear;
    });
    run_until($own, sub { $done });
    is($answer, 'Perl', "receive() inside the $where callback");
    is($child->line, 'name?', "$where: the question went out before the wait");
    is($child->line, 'hello Perl', "$where: and the answer");
    $own->do_one_loop foreach 1 .. 3;
    is_deeply(\@log, [], "$where: a message taken by receive() is not announced again");
    $child->tell('done');
    $child->wait;
    @log = ();
}

# receive() reads ahead: what it found too is still delivered.
{
    my @got;
    my $first = 1;
    $server->setcallback(connect => sub { push @log, 'connect' }, data => sub {
        my $client = shift;
        push @got, scalar $client->data;
        push @got, scalar $client->receive(30) if $first;
        $first = 0;
    });
    my $peer = peer();
    $peer->raw_send(join '', map { packet(5, $_) } 1 .. 5);
    run_until($server, sub { grep { defined && $_ eq '5' } @got });
    settle();
    is_deeply([ grep { defined } @got ], [ 1 .. 5 ], 'receive() inside data loses nothing');
    $peer->close;
    settle();
    @log = ();
}

# send() to the leaving client inside its own disconnect callback: true or a soft failure.
{
    my $result;
    $server->setcallback(disconnect => sub {
        my $client = shift;
        $result = eval { $client->send('goodbye'); 1 } ? 'lived' : "died: $@";
        push @log, 'open: ' . (defined $client->socket ? 1 : 0),
            'listed: ' . scalar(grep { defined && $_ == $client } $server->clients);
    }, data => sub { $_[0]->data }, connect => sub { });
    my $peer = peer();
    run_until($server, sub { $server->clients });
    $peer->close;
    logged([ 'open: 1', 'listed: 1' ], 'in disconnect the socket is open and the client listed');
    is($result, 'lived', 'send() to the leaving client does not die');
}

# A broadcast to everyone, leaving client included, as chat servers do it.
{
    my @errors;
    $server->setcallback(disconnect => sub {
        foreach my $client ($server->clients) {
            eval { $client->send('someone left') || die "$@\n"; 1 } or push @errors, $@;
        }
        push @log, 'told';
    });
    my @peers = map { peer() } 1 .. 3;
    run_until($server, sub { ($server->clients || 0) == 3 });
    $peers[1]->close;
    logged(['told'], 'a broadcast from disconnect');
    is_deeply(\@errors, [], 'with send() || die for everyone');
    is($peers[$_]->receive, 'someone left', "peer $_ hears it") foreach 0, 2;
    $server->setcallback(disconnect => sub { });
    $_->close foreach @peers[ 0, 2 ];
    run_until($server, sub { !$server->clients });
}

# Callbacks may be changed while connections live.
{
    my $peer = peer();
    $server->setcallback(data => sub { push @log, 'old ' . $_[0]->data });
    $peer->send('1');
    logged(['old 1'], 'one callback');
    $server->setcallback(data => sub { push @log, 'new ' . $_[0]->data });
    $peer->send('2');
    logged(['new 2'], 'another callback, same connection');
    $peer->close;
    settle();
}

# Scripts say next or last where they mean return: the old loop was around every callback.
{
    no warnings 'exiting';
    my ($own, $own_port) = new_server(donotencrypt => 1, donotcompress => 1);
    my @seen;
    $own->setcallback(
        connect => sub { push @seen, 'connect'; next; push @seen, 'not here' },
        data => sub {
            my $data = $_[0]->data;
            foreach my $n (1 .. 3) { next if $n == 1; last }
            next if $data eq 'next';
            if ($data eq 'last') { last }
            push @seen, $data;
        },
        disconnect => sub { push @seen, 'disconnect'; last },
    );
    my $peer = OldPeer->client(version => '0.19', port => $own_port, idle => loop_of($own));
    $peer->raw_send(join '', map { packet(5, $_) } qw(a next b last c));
    run_until($own, sub { @seen >= 4 });
    $peer->close;
    run_until($own, sub { @seen >= 5 });
    $own->do_one_loop;
    is_deeply(\@seen, [qw(connect a b c disconnect)], 'next and last leave a callback as return does');
    is($own->setcallback(data => \&{'not defined yet'}), 1, 'a subroutine that is defined later');
}

# Without any callback messages stay in the bucket.
{
    my ($bare, $bare_port) = new_server(donotencrypt => 1, donotcompress => 1);
    my $peer = OldPeer->client(version => '0.19', port => $bare_port, idle => loop_of($bare));
    run_until($bare, sub { $bare->clients });
    $peer->send('waiting');
    my ($client) = $bare->clients;
    my $got;
    run_until($bare, sub { defined($got = $client->data) });
    is($got, 'waiting', 'a server without callbacks: data() finds the message');
    $peer->send('more');
    is($client->receive(30), 'more', 'and so does receive()');
}

# Every kind of subroutine, and whatever leaves one, as when Perl calls it.
{
    my ($server, $port) = new_server(donotencrypt => 1, donotcompress => 1);
    my @seen;
    my $note = sub { push @seen, scalar $_[0]->data; return 'ignored', 'too' };
    my @ways = (
        $note,
        sub { goto &$note },
        sub { &$note },
        sub { eval { die "inner\n" }; &$note if $@ eq "inner\n" },
        sub { eval { eval { die "inner\n" }; die "outer $@" }; &$note if $@ eq "outer inner\n" },
        sub { push @seen, scalar $_[0]->data if eval 'die "text\n"; 1' || $@ eq "text\n" },
        sub { my @sorted = sort { $b <=> $a } 1 .. 3; &$note if "@sorted" eq '3 2 1' },
        sub { my ($first) = map { $_ } grep { eval { die } || 1 } @_; $note->($first) },
        \&Net::EasyTCP::data,    # written in C
        $note,
    );
    my $sock = raw_negotiate(raw_connect($port), loop_of($server));
    foreach my $i (0 .. $#ways) {
        $server->setcallback(data => $ways[$i]);
        my $seen = @seen;
        write_to($sock, packet(5, "message $i"));
        my $waits = 0;
        run_until($server, sub { @seen > $seen || $ways[$i] == \&Net::EasyTCP::data && $waits++ > 3 });
    }
    is_deeply(\@seen, [ map { "message $_" } 0 .. 7, 9 ], 'all kinds of callbacks');
    my ($client) = $server->clients;
    is($client->data, undef, 'one in C is called, too');

    # An exception leaves two loops, one inside the other, and evals work as before afterwards.
    my $depth = 0;
    $server->setcallback(data => sub {
        push @seen, scalar $_[0]->data;
        die "deep\n" if $depth++;
        write_to($sock, packet(5, 'inner'));
        $server->do_one_loop while 1;
    });
    write_to($sock, packet(5, 'outer'));
    is(eval { $server->do_one_loop while 1; 1 }, undef, 'an exception in a loop within a loop');
    is($@, "deep\n", 'comes out of both');
    is_deeply([ @seen[ -2, -1 ] ], [ 'outer', 'inner' ], 'and was thrown by the inner one');
    is(eval { die "after\n" } || $@, "after\n", 'eval works as before');
    $server->setcallback(data => $note);
    write_to($sock, packet(5, 'afterwards'));
    run_until($server, sub { $seen[-1] eq 'afterwards' });
    is($seen[-1], 'afterwards', 'and so does the loop');
}

# Under a debugger, which sees callbacks as it sees other calls.
{
    my $script = <<'SCRIPT';
use strict;
use warnings;
use lib 't/lib';
use EasyTCPTest;
use Net::EasyTCP;
use OldPeer;
my ($server, $port) = new_server(donotencrypt => 1, donotcompress => 1);
$server->setcallback(data => \&echo);
my $called;    # the last that the debugger saw
sub echo { $called = $DB::sub; $_[0]->send(scalar $_[0]->data) }
my $peer = OldPeer->client(version => '0.19', port => $port, idle => loop_of($server));
$peer->send('debugged');
print $peer->receive, $called eq 'main::echo' || $called eq \&echo ? ' seen' : " after $called", "\n";
SCRIPT
    local $ENV{PERL5DB} = '{ package DB; our $sub; sub DB {} sub sub { &$sub } }';
    open my $in, '-|', $^X, '-d', (map { "-I$_" } @INC), '-e', $script or die $!;
    is(readline $in, "debugged seen\n", 'callbacks under a debugger');
}

# What a callback does to its argument is its own affair.
{
    my ($server, $port) = new_server(donotencrypt => 1, donotcompress => 1);
    my (@refs, @got, $kept);
    my @ways = (
        sub { $_[0] = 'another' },
        sub { undef $_[0] },
        sub { Scalar::Util::weaken($_[0]) },
        sub { $kept = \$_[0] },
        sub { bless \$_[0], 'Other' },
        sub { delete $_[0]{text}; @_ = () },
        sub { },
    );
    $server->setcallback(data => sub {
        push @refs, "$_[0]";
        push @got, scalar $_[0]->data;
        &{ $ways[$#got] };
    });
    my $sock = raw_negotiate(raw_connect($port), loop_of($server));
    foreach my $i (0 .. $#ways) {
        write_to($sock, packet(5, "message $i"));
        run_until($server, sub { @got > $i });
    }
    is_deeply(\@got, [ map { "message $_" } 0 .. $#ways ],
        'callbacks may assign to, weaken and keep their argument');
    is_deeply([ grep { $_ ne $refs[0] } @refs ], [], 'and those that follow get the same object');
    is("$$kept", $refs[0], 'a reference to it stays good');
}

# The argument keeps the client as long as the callback runs, however deep loops are nested and however each
# ends, and no longer.
{
    my ($server, $port) = new_server(donotencrypt => 1, donotcompress => 1);
    my (@seen, $sock, @inner);
    my $inside = sub {
        my ($client, $code) = @_;
        push @inner, $code;
        write_to($sock, packet(5, 'inside'));
        run_until($server, sub { !@inner });
    };
    my %ways = (
        'returns'                  => sub { },
        'dies'                     => sub { die "outside\n" },
        'closes and loops'         => sub { $_[0]->close; $server->do_one_loop for 1 .. 3 },
        'closes, loops and dies'   => sub { $_[0]->close; $server->do_one_loop for 1 .. 3; die "outside\n" },
        'loops'                    => sub { $inside->($_[0], sub { }) },
        'loops and dies'           => sub { $inside->($_[0], sub { }); die "outside\n" },
        'loops with an exception'  => sub { eval { $inside->($_[0], sub { die "inside\n" }) } },
        'loops with two'           => sub { eval { $inside->($_[0], sub { die "inside\n" }) }; die "outside\n" },
        'loops, which assigns'     => sub { $inside->($_[0], sub { $_[0] = 5 }) },
        'loops twice'              => sub { $inside->($_[0], sub { $inside->($_[0], sub { }) }) },
        'loops twice and dies'     => sub { $inside->($_[0], sub { $inside->($_[0], sub { die "inside\n" }) }) },
        'loops, twice, with eval'  => sub {
            $inside->($_[0], sub { eval { $inside->($_[0], sub { die "inside\n" }) } });
        },
    );
    my ($way, $weak, $done);
    $server->setcallback(
        connect => sub { Scalar::Util::weaken($weak = $_[0]) },
        data    => sub {
            $_[0]->data;
            my $code = @inner ? pop @inner : $way;
            my $name = "$_[0]";
            local $@;
            my $lives = eval { &$code; 1 };
            my $error = $@;
            push @seen, $name if !ref $_[0] && $name;
            $done = 1 if $code eq $way;
            die $error if !$lives;
            push @seen, 'another client' if ref $_[0] && "$_[0]" ne $name;
        },
    );
    foreach my $name (sort keys %ways) {
        $way = $ways{$name};
        ($done, @seen) = (0);
        $sock = raw_negotiate(raw_connect($port), loop_of($server));
        write_to($sock, packet(5, 'begin'));
        until ($done) { eval { $server->do_one_loop } }
        is(scalar @seen, $name =~ /assigns/ ? 1 : 0, "a callback that $name: its argument is its own");
        eval { write_to($sock, packet(5, 'again')) } if $name !~ /closes/;
        ($way, $done) = (sub { }, $name =~ /closes/);
        run_until($server, sub { $done });
        close $sock;
        run_until($server, sub { !$weak || !$server->clients });
        $server->do_one_loop for 1 .. 2;
        is($weak, undef, 'and the client goes when its connection has');
    }
}

done_testing();
