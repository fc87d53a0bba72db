# The program's variables: $\ $, $/ $_ $1 $! $@ $SIG{PIPE} are neither used nor changed.
use strict;
use warnings;
use Test::More;
use lib 't/lib';
use EasyTCPTest;
use OldPeer;
use Net::EasyTCP;

my ($server, $port) = new_server();
my (@log, $inside);
sub look {
    my $name = shift;
    no warnings;
    push @log, [ $name, map { defined $_ ? $_ : 'undef' } $\, $,, $/, $", $;, $| ];
    return;
}
$server->setcallback(
    connect    => sub { look('connect') },
    data       => sub { look('data'); $inside = "$1" if 'inner' =~ /(n+)/; $_[0]->send($_[0]->data) },
    disconnect => sub { look('disconnect') },
);

my $child = spawn(sub {
    my $me = shift;
    my @bad;
    local ($\, $,, $/, $") = ("RS!", "FS!", "IRS!", "LS!");
    local $_ = 'topic';
    local $SIG{PIPE} = sub { 'mine' };
    my $pipe = $SIG{PIPE};
    'outer text' =~ /(\w+) (\w+)/ or die;
    my $check = sub {
        my $where = shift;
        push @bad, "$where \$\\" if $\ ne 'RS!';
        push @bad, "$where \$," if $, ne 'FS!';
        push @bad, "$where \$/" if $/ ne 'IRS!';
        push @bad, "$where \$_" if $_ ne 'topic';
        push @bad, "$where SIG{PIPE}" if $SIG{PIPE} ne $pipe;
        return;
    };
    my $client = Net::EasyTCP->new(mode => 'client', host => '127.0.0.1', port => $port) or die "new: $@";
    push @bad, "new: \$1" if $1 ne 'outer' || $2 ne 'text';
    $check->('new');
    foreach my $value ('plain', '', '0', [ 1, undef, 'x' ], { a => 1 }, 'x' x 300_000, "line\nRS!FS!IRS!\n") {
        $client->send($value) or push @bad, "send: $@";
        push @bad, 'send: $1' if $1 ne 'outer';
        $check->('send');
        my $back = $client->receive;
        push @bad, 'receive: $1' if $1 ne 'outer';
        $check->('receive');
        if (!ref $value) {
            push @bad, 'a message is changed' if !defined $back || $back ne $value;
        }
        elsif (ref $value ne ref $back) {
            push @bad, 'a structure is changed';
        }
    }
    $client->mode; $client->encryption; $client->compression; $client->serial; $client->socket;
    $client->close;
    $check->('close');
    local ($\, $,) = (undef, undef);
    $me->report(@bad ? join '; ', @bad : 'unchanged');
    $me->hear;
});

my $result;
{
    local ($\, $,, $/, $") = ("RS?", "FS?", "IRS?", "LS?");
    local $_ = 'outer topic';
    local $! = 7;
    my $pipe = $SIG{PIPE} = sub { 1 };
    'some words' =~ /(\w+)/ or die;
    # A loop that is left by its condition only: no methods of the tests in between.
    while (@log < 9) { $server->do_one_loop or last }
    is($_, 'outer topic', '$_ outside the loop');
    is($1, 'some', '$1 outside the loop');
    is($SIG{PIPE}, $pipe, '$SIG{PIPE} outside the loop');
    is($\, 'RS?', '$\ outside the loop');
    is($,, 'FS?', '$, outside the loop');
    is($/, 'IRS?', '$/ outside the loop');
    $SIG{PIPE} = 'DEFAULT';
}
is($child->line, 'unchanged', 'a client neither uses nor changes the program\'s variables');
my %wrong;
foreach my $entry (@log) {
    my ($name, @values) = @$entry;
    $wrong{$name}++ if "@values[0..3]" ne 'RS? FS? IRS? LS?';
}
is_deeply(\%wrong, {}, 'callbacks see the program\'s variables');
is($inside, 'nn', 'a match inside a callback is its own');
$child->tell('end');
$child->kill;

# $! and $@ on success
{
    my $echo = spawn_server();
    my $client = Net::EasyTCP->new(mode => 'client', host => '127.0.0.1', port => $echo->{port}) or die $@;
    $@ = 'before';
    $client->send('x');
    is($@, 'before', '$@ after a successful send()');
    $client->receive;
    is($@, 'before', '$@ after a successful receive()');
    $client->close;
    is($@, 'before', '$@ after close()');
    $echo->kill('TERM');
}
{
    my ($quiet) = new_server();
    $@ = 'before';
    $quiet->do_one_loop;
    is($@, 'before', '$@ after do_one_loop()');
    $quiet->setcallback(data => sub { });
    is($@, 'before', '$@ after setcallback()');
    undef $quiet;
    is($@, 'before', '$@ after the object was dropped');
}

# Dropping objects inside eval does not lose the exception.
{
    my $echo = spawn_server();
    $? = 0;
    eval {
        my $client = Net::EasyTCP->new(mode => 'client', host => '127.0.0.1', port => $echo->{port});
        my ($own) = new_server();
        die "the reason\n";
    };
    is($@, "the reason\n", 'an exception survives the destruction of objects');
    is($?, 0, 'so does $?');
    $echo->kill('TERM');
}

# $SIG{__DIE__} and $^S as in any Perl code.
{
    my ($own, $own_port) = new_server(donotencrypt => 1, donotcompress => 1);
    my @died;
    local $SIG{__DIE__} = sub { push @died, defined $^S ? $^S : 'undef' };
    my $state;
    $own->setcallback(data => sub { $_[0]->data; $state = $^S; die "once\n" });
    my $peer = OldPeer->client(version => '0.19', port => $own_port, idle => loop_of($own)) or die OldPeer->error;
    $peer->send('x');
    @died = ();
    my $ok = eval { $own->do_one_loop while 1; 1 };
    is($@, "once\n", 'the exception');
    is_deeply(\@died, [1], '__DIE__ is called once for an exception in a callback');
    is($state, 1, '$^S inside eval');
}

# caller() inside callbacks, and warnings carry the user's line.
{
    my ($own, $own_port) = new_server(donotencrypt => 1, donotcompress => 1);
    my ($context, @warnings);
    $own->setcallback(data => sub { $_[0]->data; $context = wantarray; my $u; my $s = "x$u" });
    local $SIG{__WARN__} = sub { push @warnings, @_ };
    my $peer = OldPeer->client(version => '0.19', port => $own_port, idle => loop_of($own)) or die OldPeer->error;
    $peer->send('x');
    run_until($own, sub { @warnings });
    like($warnings[0], qr/uninitialized .* at \Q$0\E line \d+/, 'warnings in callbacks name their line');
}

# No warnings of the module's own, under -w and use warnings.
{
    my @warnings;
    local $SIG{__WARN__} = sub { push @warnings, @_ };
    local $^W = 1;
    my $echo = spawn_server();
    foreach my $options ([], [ donotencrypt => 1 ], [ donotcompress => 1 ], [ password => 'unused' ]) {
        my $client = Net::EasyTCP->new(mode => 'client', host => '127.0.0.1', port => $echo->{port}, @$options) or die $@;
        $client->send($_), $client->receive foreach 'x', [1], '';
        $client->close;
    }
    Net::EasyTCP->new(mode => 'client');
    is_deeply(\@warnings, [], 'no warnings');
    $echo->kill('TERM');
}

done_testing();
