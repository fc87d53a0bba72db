# Net::EasyTCP::Cluster and examples/chat-cluster.pl with a Redis of their own, in a temporary folder: every
# client gets each broadcast once and in one order, or its worker was told of a gap. EASYTCP_MESSAGES says
# how many messages there are in the last part (4000), EASYTCP_RATE how many a second (4000), and
# EASYTCP_REDIS which program to run (redis-server).
use strict;
use warnings;
use Test::More;
use lib 't/lib';
use EasyTCPTest;
use Cwd ();
use File::Temp ();
use IO::Socket::UNIX;
use Net::EasyTCP;
use Net::EasyTCP::Cluster;
use Time::HiRes qw(sleep time);

my $program = $ENV{EASYTCP_REDIS} || 'redis-server';
my ($redis_server) = grep { -x $_ } $program =~ m{/} ? $program : map { "$_/$program" } split /:/, $ENV{PATH};
plan skip_all => "no $program here" if !$redis_server;
plan skip_all => 'no Redis.pm here' if !eval { require Redis; 1 };

my $messages = $ENV{EASYTCP_MESSAGES} || 4000;
my $rate     = $ENV{EASYTCP_RATE} || 4000;
my $dir      = File::Temp::tempdir(CLEANUP => 1);
my $socket   = "$dir/redis.sock";
my @perl     = ($^X, map { "-I$_" } grep { !ref } map { Cwd::abs_path($_) || () } @INC);

sub run_program {
    my (@command) = @_;
    return spawn(sub {
        my $me = shift;
        open STDOUT, '>&', $me->{out} or die "STDOUT: $!";
        open STDERR, '>>', "$dir/errors" or die "STDERR: $!";
        exec @command or die "exec @command: $!";
    });
}

sub wait_for {
    my $holds = shift;
    my $since = time;
    while (time - $since < 30) {
        return time - $since if $holds->();
        sleep 0.02;
    }
    return;
}

# ---- Redis -----------------------------------------------------------------------------------------

my $redis;

sub start_redis {
    my (@options) = @_;
    @options = (qw(--port 0 --unixsocket), $socket) if !@options;
    my @kept = ('--save', '', '--appendonly', 'no', '--dir', $dir, '--logfile', "$dir/log");
    $redis = run_program($redis_server, @kept, @options);
    defined wait_for(sub { command('ping') }) or BAIL_OUT('Redis does not start');
    return;
}

sub stop_redis {
    kill 'KILL', $redis->pid;
    $redis->wait;
    unlink $socket;
    return;
}

sub command {
    my ($command, @arguments) = @_;
    return scalar eval { Redis->new(sock => $socket)->$command(@arguments) };
}

# ---- workers and clients ---------------------------------------------------------------------------

# A worker in a process of its own. Its clients say what it does; after a gap they get GAP.
sub start_worker {
    my (%options) = @_;
    my $worker = spawn_server(
        donotcompress => 1,
        donotencrypt  => 1,
        setup         => sub {
            my $server = shift;
            my $cluster;
            $cluster = Net::EasyTCP::Cluster->new(
                server => $server, redis => $socket, stream => 'test', %options,
                gap => sub { $server->broadcast('GAP') },
            ) or die "no cluster: $@";
            $server->setcallback(data => sub {
                my $client = shift;
                my ($verb, $text, $count) = split / /, $client->data;
                $client->send("echo $text") if $verb eq 'echo';
                $client->joinroom($text)    if $verb eq 'join';
                $client->send($cluster->connected ? 'connected' : $@) if $verb eq 'state';
                return if $verb ne 'say' && $verb ne 'burst';
                foreach my $n (1 .. $count || 1) {
                    $cluster->broadcast($count ? "$text.$n" : $text) or $client->send("FAILED $@");
                }
            });
        },
    );
    return $worker;
}

sub connect_to {
    my ($worker) = @_;
    my $client = Net::EasyTCP->new(
        mode => 'client', host => '127.0.0.1', port => $worker->{port}, timeout => 20,
    ) or die $@;
    return { client => $client, got => [] };
}

# Takes what has come, until the condition holds for what this client has got.
sub listen_until {
    my ($c, $holds) = @_;
    until ($holds->($c->{got})) {
        my $text = $c->{client}->receive(30);
        return 0 if !defined $text;
        push @{ $c->{got} }, $text;
    }
    return 1;
}

# Whether this client gets this text.
sub hears {
    my ($c, $text) = @_;
    return listen_until($c, sub { grep { $_ eq $text } @{ $_[0] } });
}

sub ask {
    my ($c, $question) = @_;
    my $before = @{ $c->{got} };
    $c->{client}->send($question) or return;
    my ($word) = $question =~ /^echo/ ? 'echo' : 'connected|\[|Error|Could|Redis|No ';
    listen_until($c, sub { grep { /^(?:$word)/ } @{ $_[0] }[ $before .. $#{ $_[0] } ] }) or return;
    my ($answer) = grep { /^(?:$word)/ } splice @{ $c->{got} }, $before;
    return $answer;
}

# Every client hears of the end, said by each of those who speak.
my $end = 0;
sub all_hear {
    my ($speakers, $clients) = @_;
    my @ends = map { $end++; "end$end" } @$speakers;
    $speakers->[$_]{client}->send("say $ends[$_]") foreach 0 .. $#ends;
    my $ok = 1;
    foreach my $c (@$clients) {
        $ok &&= listen_until($c, sub { my %got = map { $_ => 1 } @{ $_[0] }; !grep { !$got{$_} } @ends });
        @{ $c->{got} } = grep { !/^end/ } @{ $c->{got} };
    }
    return $ok;
}

sub clear { @{ $_->{got} } = () foreach @_; return }

# What is wrong with what a client has got: twice, or missing without a gap.
sub wrong_with {
    my ($c, @sent) = @_;
    my (%times, @wrong);
    $times{$_}++ foreach @{ $c->{got} };
    push @wrong, map { "$_ came $times{$_} times" } grep { !/^GAP/ && $times{$_} > 1 } sort keys %times;
    my @missing = grep { !$times{$_} } @sent;
    push @wrong, "$missing[0] and others are missing (" . @missing . ' of ' . @sent . ')'
        if @missing && !$times{GAP};
    return "@wrong[ 0 .. ($#wrong < 3 ? $#wrong : 3) ]";
}

# What so many rounds of bursts consist of, when workers 0 .. $last say so much in each.
sub bursts {
    my ($name, $rounds, $last, $each) = @_;
    my @names = map { my $round = $_; map { "$name$round.$_" } 0 .. $last } 1 .. $rounds;
    return map { my $burst = $_; map { "$burst.$_" } 1 .. $each } @names;
}

# Whether what both have got comes in the same order.
sub same_order {
    my ($one, $other) = @_;
    my %has = map { $_ => 1 } grep { !/^GAP/ } @{ $other->{got} };
    my @one = grep { $has{$_} } @{ $one->{got} };
    %has = map { $_ => 1 } @one;
    return "@one" eq join ' ', grep { $has{$_} } @{ $other->{got} };
}

start_redis();

# ---- once, and in one order ------------------------------------------------------------------------

my @workers = map { start_worker() } 1 .. 4;
my @clients = map { connect_to($_) } (@workers) x 3;

{
    foreach my $n (1 .. 25) {
        $clients[$_]{client}->send("say c$_.$n") foreach 0 .. $#clients;
    }
    my @sent = map { my $n = $_; map { "c$_.$n" } 0 .. $#clients } 1 .. 25;
    ok(all_hear([ @clients[ 0 .. 3 ] ], \@clients), 'all clients hear all workers');
    listen_until($_, sub { @{ $_[0] } >= @sent }) foreach @clients;
    is_deeply([ sort @{ $clients[0]{got} } ], [ sort @sent ], 'each message came once');
    is(scalar(grep { "@{ $_->{got} }" ne "@{ $clients[0]{got} }" } @clients), 0,
        'in one order for all 12 clients of 4 workers');
    clear(@clients);
}

# ---- connections that break ------------------------------------------------------------------------

{
    my $each = 100;
    my $cut  = 0;
    foreach my $round (1 .. 10) {
        $clients[$_]{client}->send("burst cut$round.$_ $each") foreach 0 .. 3;
        $cut += command('client_kill', 'TYPE', 'normal') || 0 if $round % 3 == 0;
        sleep 0.05;
    }
    my @sent = bursts('cut', 10, 3, $each);
    listen_until($_, sub { @{ $_[0] } >= @sent || grep { /GAP|FAILED/ } @{ $_[0] } }) foreach @clients;
    all_hear([ @clients[ 0 .. 3 ] ], \@clients);
    cmp_ok($cut, '>=', 8, 'connections were cut');
    is(wrong_with($_, @sent), '', 'connections cut in mid-stream: all once') foreach @clients[ 0 .. 3 ];
    is(scalar(grep { /GAP|FAILED/ } map { @{ $_->{got} } } @clients), 0, 'without a gap');
    is(scalar(grep { !same_order($clients[0], $_) } @clients), 0, 'in one order');
    clear(@clients);
}

# ---- Redis killed, and started again with nothing --------------------------------------------------

{
    foreach my $round (1 .. 6) {
        $clients[$_]{client}->send("burst kill$round.$_ 50") foreach 0 .. 3;
        stop_redis()  if $round == 3;
        start_redis() if $round == 5;
        sleep 0.2;
    }
    my @sent = bursts('kill', 6, 3, 50);
    hears($_, 'GAP') foreach @clients;
    ok(all_hear([ @clients[ 0 .. 3 ] ], \@clients), 'after a new Redis all goes on');
    is(scalar(grep { my $c = $_; !grep { $_ eq 'GAP' } @{ $c->{got} } } @clients), 0,
        'every worker was told of a gap');
    is(wrong_with($_, @sent), '', 'nothing came twice, or is missing in silence') foreach @clients[ 0 .. 3 ];
    is(scalar(grep { !same_order($clients[0], $_) } @clients), 0, 'in one order');
    clear(@clients);
}

# ---- the stream is gone, or something else ---------------------------------------------------------

{
    is(command('del', 'test'), 1, 'the stream is deleted');
    ok(all_hear([ @clients[ 0 .. 3 ] ], \@clients), 'all goes on');
    is(scalar(grep { /GAP/ } map { @{ $_->{got} } } @clients), 0, 'and nothing was lost');
    clear(@clients);
    command('del', 'test');
    command('set', 'test', 'a text');
    $clients[0]{client}->send('say waits');
    like(wait_state($clients[0], qr/WRONGTYPE/), qr/WRONGTYPE/, 'a text in its place');
    is(ask($clients[0], 'echo 1'), 'echo 1', 'does not end the server');
    command('del', 'test');
    ok(hears($_, 'waits'), 'and when it is gone, what waited comes') foreach @clients[ 0 .. 3 ];
    command('del', '{test}:number');
    ok(all_hear([ @clients[ 0 .. 3 ] ], \@clients), 'the counter is deleted');
    ok(scalar(grep { /GAP/ } @{ $clients[0]{got} }), 'which is told as a gap');
    clear(@clients);
}

sub wait_state {
    my ($c, $wanted) = @_;
    my $state;
    wait_for(sub { ($state = ask($c, 'state')) =~ $wanted });
    return $state;
}

# ---- a worker, and a Redis, that hang --------------------------------------------------------------

{
    kill 'STOP', $redis->pid;
    $clients[0]{client}->send("burst hang 20");
    my $since = time;
    is(ask($clients[0], "echo $_"), "echo $_", 'a server whose Redis hangs answers') foreach 1 .. 3;
    cmp_ok(time - $since, '<', 4, 'at once, more or less');
    kill 'CONT', $redis->pid;
    ok(all_hear([ $clients[0] ], \@clients), 'when it goes on, so does the cluster');
    is(wrong_with($_, map { "hang.$_" } 1 .. 20), '', 'without loss') foreach @clients[ 0 .. 3 ];
    clear(@clients);
}

{
    my @slow = map { start_worker(stream => 'short', maxlen => 200) } 1, 2;
    my ($one, $other) = map { connect_to($_) } @slow;
    all_hear([ $one, $other ], [ $one, $other ]);
    clear($one, $other);
    kill 'STOP', $slow[1]->pid;
    foreach my $round (1 .. 40) {
        $one->{client}->send("burst slow$round 50");
        hears($one, "slow$round.50");
    }
    kill 'CONT', $slow[1]->pid;
    ok(all_hear([$one], [ $one, $other ]), 'a worker that hung for longer than the stream keeps goes on');
    my @sent = map { my $round = $_; map { "slow$round.$_" } 1 .. 50 } 1 .. 40;
    ok(scalar(grep { $_ eq 'GAP' } @{ $other->{got} }), 'and was told of a gap');
    cmp_ok(scalar @{ $other->{got} }, '<', @sent, 'as it has missed some');
    is(wrong_with($other, @sent), '', 'nothing came twice');
    is($other->{got}[-1], 'slow40.50', 'the last came');
    ok(same_order($one, $other), 'in the order of the others');
    $_->kill('TERM') foreach @slow;
}

# ---- something else in the place of Redis ----------------------------------------------------------

# Listens where Redis does, and answers each request with this; undef: closes at once.
sub start_impostor {
    my ($answer) = @_;
    my $child = spawn(sub {
        my $me = shift;
        local $SIG{PIPE} = 'IGNORE';
        my $listener = IO::Socket::UNIX->new(Local => $socket, Listen => 100) or die "listen: $!";
        $me->report('up');
        my $select = IO::Select->new($listener);
        while (my @ready = $select->can_read) {
            foreach my $handle (@ready) {
                if ($handle == $listener) {
                    my $new = $listener->accept or next;
                    defined $answer ? $select->add($new) : close $new;
                }
                elsif (!sysread $handle, my $bytes, 65536) { $select->remove($handle); close $handle }
                else                                       { syswrite $handle, $answer }
            }
        }
    });
    $child->line;
    return $child;
}

foreach my $case (
    [ 'closes at once',   undef ],
    [ 'speaks HTTP',      "HTTP/1.1 400 Bad Request\r\n\r\n" ],
    [ 'speaks noise',     join '', map { chr(int rand 256) } 1 .. 1000 ],
    [ 'says OK',          "+OK\r\n" ],
    [ 'says nothing',     '' ],
    [ 'claims too much',  "\$99999999999\r\nx" ],
    [ 'stops within',     "*1\r\n*2\r\n\$4\r\ntest\r\n*1\r\n*2\r\n" ],
    [ 'sends empty ones', "*1\r\n*2\r\n\$4\r\ntest\r\n*1\r\n*2\r\n\$-1\r\n*-1\r\n" ],
    [ 'has old ones',     "*1\r\n*2\r\n\$4\r\ntest\r\n*1\r\n*2\r\n\$3\r\n0-1\r\n*0\r\n" ],
) {
    my ($what, $answer) = @$case;
    stop_redis();
    my $impostor = start_impostor($answer);
    my $since    = time;
    my $slowest  = 0;
    while (time - $since < 4) {
        my $asked = time;
        ask($clients[$_], 'echo x') foreach 0 .. 3;
        $slowest = time - $asked if time - $asked > $slowest;
        $clients[0]{client}->send("say while");
        sleep 0.1;
    }
    note(sprintf '%s: the slowest answer took %.2f s', $what, $slowest);
    cmp_ok($slowest, '<', 10, "the servers go on beside something that $what");
    $impostor->kill('KILL');
    $impostor->wait;
    unlink $socket;
    start_redis();
    ok(all_hear([ @clients[ 0 .. 3 ] ], \@clients), 'and with Redis, when it is back');
    clear(@clients);
}

$_->kill('TERM') foreach @workers;

# ---- a password ------------------------------------------------------------------------------------

{
    command('config_set', 'requirepass', 'secret');
    my $server = new_server();
    my $cluster = sub { Net::EasyTCP::Cluster->new(server => $server, redis => shift, stream => 'p') };
    is($cluster->($socket), undef, 'without the password');
    like($@, qr/^Cannot connect to Redis: .*NOAUTH/, 'there is the reason');
    is($cluster->({ sock => $socket, password => 'x' }), undef, 'with a wrong one');
    like($@, qr/^Cannot connect to Redis: .*WRONGPASS/, 'there is the reason');
    ok($cluster->({ sock => $socket, password => 'secret' }), 'with it') or diag($@);
    stop_redis();
    is($cluster->($socket), undef, 'without Redis');
    like($@, qr/^Cannot connect to Redis: Could not connect/, 'there is the reason');
    start_redis();
}

# ---- the example -----------------------------------------------------------------------------------

{
    my @port  = (free_port(), free_port());
    my @chats = map { run_program(@perl, 'examples/chat-cluster.pl', 2, $_, $socket) } @port;
    is($chats[$_]->line, "Listening on port $port[$_]", 'a chat of two workers') foreach 0, 1;
    my %place = (Anna => $port[0], Bert => $port[1], Cleo => $port[0]);
    my %talks = map { $_ => connect_to({ port => $place{$_} }) } keys %place;
    my %heard;
    foreach my $name (qw(Anna Bert Cleo)) {
        $talks{$name}{client}->send($name);
        ok(hears($talks{$name}, "Welcome, $name"), "$name is welcome");
        hears($talks{$_}, "$name has come") foreach grep { $_ lt $name } keys %talks;
    }
    $talks{Anna}{client}->send('hello');
    ok(hears($talks{$_}, 'Anna: hello'), "$_ hears Anna") foreach qw(Bert Cleo);
    $talks{$_}{client}->send('/join kitchen') foreach qw(Anna Bert);
    ok(hears($talks{Bert}, 'You are in kitchen'), 'to another room');
    ok(hears($talks{Cleo}, 'Bert has left'), 'which is heard in the old one');
    $talks{Anna}{got} = [];
    $talks{Bert}{client}->close;
    ok(hears($talks{Anna}, 'Bert has left'), 'Anna hears that Bert leaves');
    is(scalar(grep { $_ eq 'Anna: hello' } @{ $talks{Anna}{got} }), 0, 'nobody hears himself');
    foreach my $chat (@chats) {
        kill 'TERM', $chat->pid;
        is($chat->wait, 0, 'TERM ends it');
    }
}

# ---- two machines, as far as the network goes ------------------------------------------------------

# A worker of a machine, with two clients beside it. Each client tells how many messages it has, a sum of
# their order, how many came twice, and how many gaps there were.
my $node = <<'NODE';
use strict; use warnings;
use Digest::MD5; use Net::EasyTCP; use Net::EasyTCP::Cluster;
my ($redis, $name, $count, $workers, $rate) = @ARGV;
$| = 1;
my $server = Net::EasyTCP->new(mode => 'server', port => '00', localaddr => '127.0.0.1', whenfull => 'close')
    or die $@;
my $cluster = Net::EasyTCP::Cluster->new(server => $server, redis => $redis, stream => 'nodes',
    gap => sub { $server->broadcast('GAP') }) or die $@;
foreach my $client (1, 2) {
    my $pid = fork;
    next if $pid;
    undef $cluster;
    my $c = Net::EasyTCP->new(mode => 'client', host => '127.0.0.1', port => $server->port) or die $@;
    my ($ends, $gaps, $twice, %seen) = (0, 0, 0);
    my $order = Digest::MD5->new;
    $c->send('ready') or die $@;
    while ($ends < $workers) {
        my $text = $c->receive(60);
        die "$name: $@" if !defined $text;
        if ($text =~ /^end/) { $ends++ }
        elsif ($text eq 'GAP') { $gaps++ }
        else { $twice++ if $seen{$text}++; $order->add("$text\n") }
    }
    print join(' ', scalar(keys %seen), $order->hexdigest, $twice, $gaps), "\n";
    exit;
}
my ($ready, $sent) = (0, 0);
# A part of the messages each time that the loop is idle, so that others are served as well.
$server->setcallback(data => sub { $_[0]->data; print "ready\n" if ++$ready == 2 });
$server->watch(\*STDIN, sub {
    sysread STDIN, my $line, 100;
    $server->stop if !length $line;
    go_on() if $line =~ /go/;
});
sub go_on {
    for (1 .. 50) {
        last if $sent >= $count;
        $sent++;
        $cluster->broadcast("$name.$sent") or die $@;
    }
    $sent < $count ? Net::EasyTCP::_wake($server, 50 / $rate, \&go_on) : $cluster->broadcast("end $name");
}
$server->start or die $@;
NODE

{
    my @space = map { "easytcp$$-$_" } 1, 2;
    my $in   = sub { system("$_[0] 2>>$dir/errors") == 0 };
    my $made = $> == 0 && $in->("ip netns add $space[0]");
    my ($address, @where) = ($socket);
    my $port = free_port();
    if ($made) {
        $made &&= $in->($_) foreach "ip netns add $space[1]", "ip link add etcp$$ type bridge",
            "ip addr add 10.111.7.1/24 dev etcp$$", "ip link set etcp$$ up";
        foreach my $n (0, 1) {
            my $address = '10.111.7.' . ($n + 2);
            $made &&= $in->($_) foreach "ip link add ev$$-$n type veth peer name eth0 netns $space[$n]",
                "ip link set ev$$-$n master etcp$$ up", "ip -n $space[$n] addr add $address/24 dev eth0",
                "ip -n $space[$n] link set eth0 up", "ip -n $space[$n] link set lo up";
        }
        @where   = map { [ qw(ip netns exec), $_ ] } @space if $made;
        $address = "10.111.7.1:$port" if $made;
    }
    note($made ? 'two network namespaces' : 'no network namespaces here: one machine');
    if ($made) {
        stop_redis();
        start_redis('--port', $port, '--bind', '10.111.7.1 127.0.0.1', '--protected-mode', 'no',
            '--unixsocket', $socket);
    }
    my $each = int $messages / 4;
    my $file = "$dir/node.pl";
    open my $out, '>', $file or die $!;
    print $out $node;
    close $out;
    my @nodes;
    foreach my $n (0 .. 3) {
        pipe(my $r, my $w) or die $!;
        push @nodes, { stdin => $w, child => spawn(sub {
            my $me = shift;
            close $w;
            open STDIN, '<&', $r or die $!;
            open STDOUT, '>&', $me->{out} or die $!;
            exec @{ $where[ $n % 2 ] || [] }, @perl, $file, $address, "n$n", $each, 4, $rate / 4 or die $!;
        }) };
    }
    is($_->{child}->line, 'ready', 'a node is ready') foreach @nodes;
    my $since = time;
    syswrite $_->{stdin}, 'go' foreach @nodes;
    my @lines = map { my $child = $_->{child}; ($child->line, $child->line) } @nodes;
    note(sprintf '%d messages for each of 8 clients of 4 workers in %.1f s', 4 * $each, time - $since);
    note($_) foreach @lines;
    my ($first) = grep { /^@{[ 4 * $each ]} \w+ 0 0$/ } @lines;
    is(scalar(grep { !/ 0 [0-9]+$/ } @lines), 0, 'no message came twice');
    is(scalar(grep { !/^@{[ 4 * $each ]} / && / 0$/ } @lines), 0, 'who has not got all was told of a gap');
    is(scalar(grep { / 0$/ && $_ ne $first } @lines), 0, 'the others have one order');
    close $_->{stdin} foreach @nodes;
    $_->{child}->wait foreach @nodes;
    $in->("ip netns del $_") foreach @space;
    $in->("ip link del etcp$$");
}

stop_redis();
done_testing();
