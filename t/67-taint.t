#!/usr/bin/perl -T
# Under -T: what a peer sends is tainted, however it was sent and wherever it comes out, and tainted
# addresses are refused as perl's own connect and bind do.
use strict;
use warnings;
use Test::More;
use lib 't/lib';
use File::Temp ();
use Scalar::Util qw(tainted);

BEGIN {
    my $taint = eval { tainted(substr "@ENV{ sort keys %ENV }", 0, 0) };
    plan skip_all => 'perl without taint support' if !$taint;
    $ENV{PATH} = '/bin:/usr/bin';
    delete @ENV{qw(IFS CDPATH ENV BASH_ENV)};
}

use EasyTCPTest;
use Net::EasyTCP;

my $nothing = substr "@ENV{ sort keys %ENV }", 0, 0;    # tainted, and empty
ok(tainted($nothing), 'tainting works');

# Places of a structure where something is not tainted, but should be.
sub clean_places {
    my ($value, $path) = @_;
    my @clean = tainted($value) || ref $value ? () : $path;
    return @clean, map { clean_places($value->[$_], "$path\[$_]") } 0 .. $#$value if ref $value eq 'ARRAY';
    return @clean, map { clean_places($value->{$_}, "$path\{$_}") } sort keys %$value if ref $value;
    return @clean;
}

my $circle = { text => 'in a circle' };
$circle->{self} = $circle;
my @messages = (
    [ 'text' => 'text' ], [ 'a large text' => 'x' x 100_000 ], [ 'an empty text' => '' ],
    [ 'a structure' => [ 'text', 5, 1.5, -3, { key => 'value', list => [ 1 .. 3 ] }, "\x{263a}" ] ],
    [ 'an object' => bless { name => 'of an object', list => ['x'] }, 'Some::Class' ],
    [ 'what only hooks can build' => [ bless({}, 'Hooked'), 'beside it' ] ],
);
{
    package Hooked;
    sub STORABLE_freeze { return 'text' }
    sub STORABLE_thaw   { my ($self, $cloning, $text) = @_; $self->{text} = $text; return }
}

foreach my $mode ([ 'plain', donotencrypt => 1, donotcompress => 1 ], [ 'encrypted', donotcompress => 1 ],
    [ 'compressed', donotencrypt => 1 ], ['both']) {
    my ($name, @options) = @$mode;
    my (@got, $object);
    my $echo = spawn_server();
    my $client = Net::EasyTCP->new(mode => 'client', host => '127.0.0.1', port => $echo->{port}, @options)
        or BAIL_OUT($@);
    foreach my $case (@messages) {
        my ($what, $message) = @$case;
        $client->send($message) or diag $@;
        my $back = $client->receive;
        is(join(' ', clean_places($back, '')), '', "$name: $what is tainted in receive()");
    }
    $client->send($circle);
    my $back = $client->receive;
    ok(tainted($back->{text}) && $back->{self} == $back, "$name: a circle");
    ok(tainted($client->{_remoteip}) && tainted($client->{_remoteport}), "$name: the slots are tainted");
    ok(!eval { system "/bin/echo $back->{text}"; 1 }, "$name: a message cannot run in a shell");
    like($@, qr/^Insecure dependency in system/, 'says perl');
    $client->close;
    $echo->kill('TERM');
}
{
    my ($server, $port) = new_server(donotencrypt => 1, donotcompress => 1);
    my @got;
    $server->setcallback(data => sub {
        push @got, scalar $_[0]->data, [ $_[0]{_remoteip}, $_[0]{_remoteport} ];
    });
    my $sock = raw_negotiate(raw_connect($port), sub { $server->do_one_loop });
    write_to($sock, packet(5, 'text') . packet(7, Storable::nfreeze([ 'text', 5 ])));
    run_until($server, sub { @got >= 4 });
    is(join(' ', clean_places(\@got, '')), '', 'data() and the slots of a hybrid are tainted');
}

# ---- addresses -----------------------------------------------------------------------------------

my ($listener, $port) = new_server();
my %to = (mode => 'client', host => '127.0.0.1', port => $port);
ok(!eval { Net::EasyTCP->new(%to, host => "127.0.0.1$nothing"); 1 }, 'a tainted host');
like($@, qr/^Insecure dependency in connect while running with -T switch/, 'is refused');
ok(!eval {
    Net::EasyTCP->new(%to, host => "127.0.0.1:$port$nothing");
    1;
}, 'a tainted host with a port in it');
like($@, qr/^Insecure dependency in connect while running with -T switch/, 'is refused');
ok(!eval {
    Net::EasyTCP->new(mode => 'server', port => '00', localaddr => "127.0.0.1$nothing");
    1;
}, 'a tainted localaddr');
like($@, qr/^Insecure dependency in bind while running with -T switch/, 'is refused');
my $server = Net::EasyTCP->new(mode => 'server', port => "00$nothing", localaddr => '127.0.0.1',
    password => "x$nothing", welcome => "x$nothing");
ok($server, 'other options may be tainted, as with 0.26') or diag $@;

# ---- files ---------------------------------------------------------------------------------------

SKIP: {
    skip 'no TLS here', 5 if !tls_usable();
    my $dir = File::Temp::tempdir(CLEANUP => 1);
    foreach my $case ([ tlskey => %to ], [ tlskey => mode => 'server', port => '00' ], [ tlsknownhosts => %to ]) {
        my ($option, %o) = @$case;
        ok(!eval { Net::EasyTCP->new(%o, async => 1, $option => "$dir/$option$nothing"); 1 }
                && $@ =~ /^Insecure dependency in open while running with -T switch/,
            "$o{mode}: a tainted $option is refused") or diag $@;
    }
    is(join(' ', glob "$dir/*"), '', 'and no file is made');
    Net::EasyTCP->new(mode => 'server', port => '00', tlscert => "$dir/none$nothing");
    like($@, qr/none/, 'what is read only may be tainted, as with open');
}

# ---- what a program has read beside ----------------------------------------------------------------

# As in subroutines, it taints nothing that methods make: programs use serials in names of files.
{
    my ($server, $port) = new_server(donotencrypt => 1);
    my (@seen, @replies);
    sub clean { return join ' ', map { tainted($_[0]{$_}) ? $_ : () } qw(_mode _serial) }
    $server->setcallback(
        connect => sub { push @seen, $_[0]; my $read = "x$nothing" },
        data    => sub { $_[0]->send($_[0]->data); my $read = "x$nothing" },
    );
    my @clients = map {
        Net::EasyTCP->new(mode => 'client', host => '127.0.0.1', port => $port, async => 1,
            donotencrypt => 1, loop => $server) or die $@;
    } 1 .. 3;
    $server->process("0.1$nothing") until @seen == 3;
    is(join('', map { clean($_) } @seen, @clients), '', 'slots');
    my ($read, $mode, $serial, $port_too) = ("x$nothing", $server->mode, $seen[0]->serial, $server->port);
    ok(tainted($read), 'a statement with something tainted');
    is(join('', map { tainted($_) ? 'T' : '' } $mode, $serial, $port_too), '', 'and what methods return');
    my $next = Net::EasyTCP->new(mode => 'server', port => "00$nothing")->serial;
    ok(!tainted($next), 'a serial that is drawn later');
}
{
    package Reads;
    our @Read;
    sub STORABLE_freeze { return 'text' }
    sub STORABLE_thaw { push @Read, "x$nothing"; return }
}
SKIP: {
    skip 'no regular expressions in structures here', 3 if !eval { Storable::nfreeze([qr/x/]); 1 };
    my ($server, $port) = new_server(donotencrypt => 1, donotcompress => 1);
    my $client;
    $server->setcallback(connect => sub { $client = $_[0] });
    my $sock = raw_negotiate(raw_connect($port), sub { $server->do_one_loop });
    run_until($server, sub { $client });
    $server->setcallback(connect => sub { });
    my $image = Storable::nfreeze([ qr/x/, bless({}, 'Reads'), qr/y/ ]);
    write_to($sock, packet(7, $image) x 2);
    my $kind = "$nothing" . join ' ', map { ref } @{ $client->receive || [] };
    is($kind, 'Regexp Reads Regexp', 'regular expressions are made') or diag $@;
    $kind = join ' ', map { ref } @{ $client->receive("5$nothing") || [] };
    is($kind, 'Regexp Reads Regexp', 'whatever was read before');
    ok(tainted($Reads::Read[0]), 'by a hook, too');
}

done_testing();
