# Loops in loops, and calls in calls: however many there are, the C stack does not end.
use strict;
use warnings;
use Test::More;
use lib 't/lib';
use EasyTCPTest;
use Net::EasyTCP;

no warnings 'recursion';

my $MANY = 20_000;    # 8 MiB of stack bear 9,000 or so

# A callback that runs the loop, and a client that sends one message after another.
foreach my $method (qw(do_one_loop process start)) {
    my ($server, $port) = new_server(donotencrypt => 1, donotcompress => 1);
    my ($got, $depth, $deepest, $result, $text, @failed) = (0, 0, 0, 'none');
    my $peer = spawn(sub {
        my $me = shift;
        my $client = Net::EasyTCP->new(mode => 'client', host => '127.0.0.1', port => $port,
            donotencrypt => 1, donotcompress => 1) or die $@;
        $client->send($_) foreach 1 .. $MANY;
        $me->hear;
    });
    $server->setcallback(data => sub {
        push @failed, $got if $_[0]->data ne ++$got;
        $deepest = ++$depth if $depth >= $deepest;
        if ($got < $MANY && !defined $text) {
            my $returned = $server->$method($method eq 'process' ? 10 : ());
            ($text, $result) = ($@, $returned) if !$returned;
        }
        $depth--;
        $server->stop if $got >= $MANY;
    });
    run_until($server, sub { $got >= $MANY });
    is($got, $MANY, "$method() in callbacks: all messages came");
    is("@failed", '', 'in order');
    cmp_ok($deepest, '>=', 500, 'many loops may be inside each other');
    is($text, 'Too many loops inside each other', 'more fail');
    is($result, undef, 'and return undef');
    $peer->tell('end');
}

# Requests that close their client when they fail.
sub connected {
    my ($server, $port) = new_server(donotencrypt => 1);
    my ($other, $is_up);
    $server->setcallback(connect => sub { $other = $_[0] });
    my $client = Net::EasyTCP->new(mode => 'client', host => '127.0.0.1', port => $port, async => 1,
        loop => $server, donotencrypt => 1) or die $@;
    $client->setcallback(connect => sub { $is_up = 1 });
    $server->process(1) until $other && $is_up;
    return ($server, $client, $other);
}

foreach my $how ('it closes', 'the other end closes') {
    my ($server, $client, $other) = connected();
    my ($told, $depth, $deepest) = (0, 0, 0);
    my %texts;
    foreach (1 .. $MANY) {
        $client->request('x', sub {
            $told++;
            $texts{ $_[1] }++;
            $deepest = ++$depth if $depth >= $deepest;
            $client->close;
            $depth--;
        }) or die $@;
    }
    if ($how eq 'it closes') { $client->close }
    else                     { $other->close; $server->process(0.1) until $told }
    is($told, $MANY, "$how: every request is told");
    is_deeply([ keys %texts ], ['Connection closed'], 'why');
    cmp_ok($deepest, '<', 10, 'one after another');
}

# An exception of one of them, and a loop that one of them runs, leave out nobody.
{
    my ($server, $client, $other) = connected();
    my @told;
    foreach my $n (1 .. 5) {
        $client->request('x', sub {
            push @told, $n;
            $client->close;
            die "on purpose\n" if $n == 2;
            $server->process(0) if $n == 3;
        }) or die $@;
    }
    ok(!eval { $client->close; 1 }, 'close() dies of what a request dies of');
    is($@, "on purpose\n", 'which is told');
    is("@told", '1 2', 'before the others are');
    $server->process(0);
    is("@told", '1 2 3 4 5', 'they are told in the next round');
}

# Clients whose requests close each other.
{
    my ($server, $port) = new_server(donotencrypt => 1);
    my ($up, $told, @clients) = (0, 0);
    foreach my $n (0 .. 19) {
        $clients[$n] = Net::EasyTCP->new(mode => 'client', host => '127.0.0.1', port => $port, async => 1,
            loop => $server, donotencrypt => 1) or die $@;
        $clients[$n]->setcallback(connect => sub { $up++ });
    }
    $server->process(1) until $up == @clients;
    foreach my $n (0 .. 19) {
        $clients[$n]->request('x', sub { $told++; $clients[ $n + 1 ]->close if $n < 19 }) or die $@;
    }
    $clients[0]->close;
    is($told, 20, 'clients that close each other');
}

done_testing();
