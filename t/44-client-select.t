# select() on socket(), then receive(): a readable handle leads to a message, and pending() tells
# whether another one is waiting that no handle will announce.
use strict;
use warnings;
use Test::More;
use lib 't/lib';
use EasyTCPTest;
use IO::Select;
use Net::EasyTCP;

sub burst {
    my $client = shift;
    my $count = $client->data;
    return unless defined $count;
    $client->send("message $_") foreach 1 .. $count;
    return;
}

sub collect {
    my ($client, $count) = @_;
    my $select = IO::Select->new($client->socket);
    my @got;
    while (@got < $count) {
        my @ready = $select->can_read(60) or last;
        do {
            my $message = $client->receive(60);
            push @got, defined $message ? $message : "undef: $@";
        } while $client->pending;
    }
    return @got;
}

my $has_tls = tls_usable();
foreach my $case ([ plain => (donotencrypt => 1, donotcompress => 1) ], [ TLS => () ],
    [ 'encrypted and compressed', donotencryptwith => 'TLS', compress => 'always' ],
    [ compressed => (donotencrypt => 1, compress => 'always') ]) {
    my ($name, @options) = @$case;
    my $server = spawn_server(callbacks => { data => \&burst }, @options);
    my $client = Net::EasyTCP->new(mode => 'client', host => '127.0.0.1', port => $server->{port})
        or BAIL_OUT("cannot connect: $@");
    ok(!IO::Select->new($client->socket)->can_read(0), "$name: nothing to read at first");
    foreach my $count (1, 2, 3, 50, 400) {
        $client->send($count);
        is_deeply([ collect($client, $count) ], [ map { "message $_" } 1 .. $count ],
            "$name: select and receive find all of $count messages");
        ok(!$client->pending, "$name: nothing pending after $count");
    }

    # The handle turns readable when the server goes away; receive() then says so.
    $server->kill;
    ok(IO::Select->new($client->socket)->can_read(60), "$name: the end is readable");
    is($client->receive(60), undef, "$name: and received");
    # Over TLS a regular end is announced, which a killed server cannot do.
    like($@, $name eq 'TLS' && $has_tls ? qr/The connection was cut off$/
        : qr/^Socket closed when attempted reading$/,
        "$name: with its text");
    $client->close;
}

# Two clients in one select loop.
{
    my $server = spawn_server();
    my @clients = map {
        Net::EasyTCP->new(mode => 'client', host => '127.0.0.1', port => $server->{port})
            or BAIL_OUT("cannot connect: $@")
    } 1 .. 5;
    my %by_socket = map { ($_->socket => $_) } @clients;
    $clients[$_]->send("client $_") foreach 0 .. 4;
    my $select = IO::Select->new(map { $_->socket } @clients);
    my %answer;
    while (keys %answer < 5) {
        foreach my $socket ($select->can_read(60)) {
            my $client = $by_socket{$socket};
            $answer{$client} = $client->receive;
        }
    }
    is_deeply([ map { $answer{$_} } @clients ], [ map { "client $_" } 0 .. 4 ],
        'each readable handle leads to its own message');
    $server->kill('TERM');
}

done_testing();
