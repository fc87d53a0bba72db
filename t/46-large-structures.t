# Large structures: long strings are sent from where they are. t/46-large-memory.t looks at what that takes.
use strict;
use warnings;
use Test::More;
use lib 't/lib';
use EasyTCPTest;
use Net::EasyTCP;

sub client_of {
    my ($server, @options) = @_;
    return Net::EasyTCP->new(mode => 'client', host => '127.0.0.1', port => $server->{port}, @options)
        || BAIL_OUT("cannot connect: $@");
}

sub text { my ($length, $what) = @_; return substr "$what " x (1 + $length / (1 + length $what)), 0, $length }

my @transports = (
    [ plain      => (donotencrypt => 1, donotcompress => 1) ],
    [ TLS        => (donotcompress => 1) ],
    [ cipher     => (donotcompress => 1, donotencryptwith => [ 'TLS', 'Crypt::RSA' ], password => 'large') ],
    [ compressed => (donotencrypt => 1, compress => 'always') ],
    [ both       => (compress => 'always') ],
);

# ---- what arrives --------------------------------------------------------------------------------

{
    package Shouting;
    sub TIESCALAR { my ($class, $text) = @_; return bless \$text, $class }
    sub FETCH { my $self = shift; return uc $$self }
    sub STORE { return }
}

my $shared = text(50_000, 'shared');
tie my $tied, 'Shouting', text(40_000, 'tied');
my $grown = '';
$grown .= "line $_\n" for 1 .. 20_000;
my $object = bless { long => text(40_000, 'object') }, 'Some::Class';
my @structures = (
    [ strings    => [ map { text($_, "length $_") } 1, 32_767, 32_768, 32_769, 40_000, 70_000, 300_000 ] ],
    [ mixed      => { map { $_ => [ $_, text(1000 * $_, $_), { $_ => text(33_000, $_) } ] } 1 .. 60 } ],
    [ characters => [ text(40_000, "\x{263a}"), text(40_000, "\xe4"), $grown, \$grown, [ $grown, $grown ] ] ],
    [ copies     => [ $shared, $shared, \$shared, \$shared, text(40_000, 'other') ] ],
    [ long       => { text => text(5_000_000, 'long'), after => 'the end' } ],
    [ many       => [ map { { number => $_, text => "line $_" } } 1 .. 60_000 ] ],
    [ objects    => [ $object, $object, text(2_000_000, 'plain') ] ],
);
foreach my $transport (@transports) {
    my ($name, @options) = @$transport;
    my $server = spawn_server(@options);
    my $client = client_of($server, @options);
    foreach my $case (@structures) {
        my ($what, $structure) = @$case;
        ok($client->send($structure), "$name: $what are sent") or diag $@;
        is_deeply(scalar $client->receive, $structure, "$name: $what come back as they were");
    }
    $client->send([ \$tied, text(40_000, 'beside') ]);
    my $back = $client->receive;
    is($back->[1], text(40_000, 'beside'), "$name: a string beside one that is tied");
    ok($client->send('after') && $client->receive eq 'after', "$name: the connection goes on");
    $client->close;
    $server->kill('TERM');
}

# ---- what happens meanwhile ----------------------------------------------------------------------

# The client reads only when it is told, and everything was changed by then.
foreach my $transport (@transports[ 0, 1 ]) {
    my ($name, @options) = @$transport;
    my ($server, $port) = new_server(@options, highwater => 0);
    my $reader = spawn(sub {
        my $child = shift;
        my $client = client_of({ port => $port }, @options);
        $client->send('ready');
        $child->hear;
        my $list = $client->receive;
        $child->report(join ' ', map { substr($_, 0, 6) . length } @$list);
    });
    my @list = map { text(4_000_000 + $_, "first$_") } 1 .. 4;
    my $client;
    $server->setcallback(data => sub { $client = shift; $client->data });
    run_until($server, sub { $client });
    ok($client->send(\@list), "$name: a structure is queued") or diag $@;
    substr $list[0], 0, 6, 'second';
    $list[1] = text(100, 'second');
    $list[2] .= text(4_000_000, 'second');
    undef $list[3];
    $reader->tell('read');
    my $said;
    run_until($server, sub { defined($said = $reader->poll) });
    is($said, join(' ', map { "first$_" . (4_000_000 + $_) } 1 .. 4),
        "$name: and arrives as it was, whatever happened to it since");
}

done_testing();
