# Large structures: long strings are sent from where they are, and an image goes as it is read.
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

# ---- how much memory it takes --------------------------------------------------------------------

# Resident memory now and at most, in MB.
sub memory {
    open my $file, '<', '/proc/self/status' or return;
    my %size = map { /^(VmHWM|VmRSS):\s+(\d+)/ ? ($1 => $2 / 1024) : () } <$file>;
    return @size{qw(VmRSS VmHWM)};
}

# What each end takes at most, as parts of the structure, which make() makes.
sub peaks_of {
    my ($make, @options) = @_;
    my $server = spawn_server(
        @options,
        callbacks => {
            data => sub {
                my $client = shift;
                my ($before) = memory();
                my $structure = $client->data;
                return $client->send($before) if !ref $structure;
                my ($now, $most) = memory();
                $client->send("$now $most");
            }
        }
    );
    my $client = client_of($server, @options);
    my ($before)  = memory();
    my $structure = $make->();
    my ($with)    = memory();
    $client->send('how large') or die $@;
    my $server_before = $client->receive;
    $client->send($structure) or die $@;
    my (undef, $most) = memory();
    my ($server_with, $server_most) = split ' ', $client->receive;
    $server->kill('TERM');
    return (($most - $before) / ($with - $before), ($server_most - $server_before) / ($server_with - $server_before));
}

SKIP: {
    my $strings = sub { [ map { text(64_000, "text $_") } 1 .. 1000 ] };
    my $pages   = sub { [ map { text(8_000, "text $_") } 1 .. 8000 ] };
    my $records = sub { [ map { { number => $_, text => "this is line $_" } } 1 .. 130_000 ] };
    my @cases   = (
        [ 'plain, strings', $strings, 0 ],
        [ 'plain, records', $records, 0 ],
        [ 'TLS, strings',   $strings, 1 ],
        [ 'TLS, pages',     $pages,   1 ],
        [ 'TLS, records',   $records, 1 ],
        [ 'zlib, strings',  $strings, 3 ],
    );
    skip 'memory is not told here', 2 * @cases if $^O ne 'linux' || !defined((memory())[1]);
    skip 'a sanitizer keeps what is freed', 2 * @cases if ($ENV{LD_PRELOAD} || '') =~ /asan|vgpreload/;
    foreach my $case (@cases) {
        my ($name, $make, $transport) = @$case;
        my (undef, @options) = @{ $transports[$transport] };
        # Each in a process of its own, whose peak is its own.
        my $child = spawn(sub { $_[0]->report(join ' ', peaks_of($make, @options)) });
        my ($sender, $receiver) = split ' ', $child->line;
        cmp_ok($sender,   '<', 1.7, "$name: the sender takes little more than the structure");
        cmp_ok($receiver, '<', 1.7, "$name: and so does the receiver");
        note(sprintf '%s: %.2f and %.2f', $name, $sender, $receiver);
    }
}

done_testing();
