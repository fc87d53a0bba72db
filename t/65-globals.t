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
    my %to = (mode => 'client', host => '127.0.0.1', port => $echo->{port});
    # As in 0.26, whose methods used eval where there was something to compress or to encrypt.
    foreach my $case ([ 'plain', 'before', donotencrypt => 1, donotcompress => 1 ],
        [ 'encrypted', '', donotcompress => 1 ],
        [ 'compressed', '', donotencrypt => 1 ], [ 'both', '' ]) {
        my ($name, $after, @options) = @$case;
        $@ = 'before';
        my $client = Net::EasyTCP->new(%to, @options);
        is($@, '', "$name: \$@ after a successful new()") or next;
        foreach my $message ('x', ['x']) {
            $@ = 'before';
            $client->send($message);
            is($@, $after, "$name: \$@ after a successful send()");
            $@ = 'before';
            $client->receive;
            is($@, $after, "$name: \$@ after a successful receive()");
        }
        $@ = 'before';
        $client->$_ foreach qw(data pending serial mode remoteip encryption compression socket);
        is($@, 'before', "$name: \$@ after other methods");
        $@ = { an => 'object' };
        $client->send('x');
        is(ref $@, $after eq '' ? '' : 'HASH', "$name: an object in it");
        my $died = eval {
            my $guard = bless [$client], 'My::Sends';
            die "an exception\n";
        };
        is($@, "an exception\n", "$name: an exception that unwinds past a send()");
        $@ = 'before';
        { my $guard = bless [$client], 'My::Sends' }
        is($@, 'before', "$name: a destructor that sends");
        $client->close;
    }
    $@ = 'before';
    my ($server) = new_server();
    is($@, '', '$@ after a successful new() of a server');
    $echo->kill('TERM');

    package My::Sends;
    sub DESTROY { $_[0][0]->send('from a destructor') }
}

# What callbacks of 0.26 could rely on by accident: a $_ of their own, to assign to, and the program's $, $\
# $/ $| as they are, which they may change; @_ has one element; their context is void.
{
    my ($server, $port) = new_server(donotencrypt => 1, donotcompress => 1);
    my (@seen, $gone);
    $server->setcallback(
        connect => sub { open my $file, '<', \"a\nb\n"; while (<$file>) { chomp } $_ = 'connect' },
        data => sub {
            my $client = $_[0];
            push @seen, scalar(@_), defined(wantarray) ? 'not void' : 'void', defined $, ? $, : 'undef',
                $/ eq "\n" ? 'newline' : 'other';
            $_ = 'mine';
            s/mine/still mine/;
            push @seen, $_;
            $, = 'changed';
            $client->send($client->data);
        },
        disconnect => sub { $_ .= ' of disconnect'; $gone++ },
    );
    my $sock = raw_connect($port);
    for ('constant') {
        raw_negotiate($sock, sub { $server->do_one_loop });
        write_to($sock, packet(5, 'text'));
        run_until($server, sub { @seen });
        is((read_packet($sock, sub { $server->do_one_loop }))[1], 'text', 'the reply has no $, in it');
        is($_, 'constant', 'the $_ of the program is not touched');
    }
    is_deeply(\@seen, [ 1, 'void', 'undef', 'newline', 'still mine' ], 'what the callback saw');
    is($,, 'changed', 'what a callback changes stays changed');
    $, = undef;
    my @idle;
    for ('for the idle callback') {
        $server->start(sub { push @idle, $_; $server->stop });
    }
    is_deeply(\@idle, ['for the idle callback'], 'the idle callback has the $_ of the program');
    $_ = 'after';
    close $sock;
    run_until($server, sub { $gone });
    is($_, 'after', '$_ is the program\'s own again');
    $server->setcallback(data => sub { $_ = 'lost'; die "on purpose\n" });
    my $second = raw_negotiate(raw_connect($port), sub { $server->do_one_loop });
    write_to($second, packet(5, 'x'));
    {
        my $died;
        until ($died) { eval { $server->do_one_loop; 1 } or $died = $@ }
        is($died, "on purpose\n", 'a callback that dies');
    }
    is($_, 'after', 'and $_ after that');

    # socket() leaves $! alone
    my ($client) = $server->clients;
    $! = 5;
    $client->socket;
    is($! + 0, 5, 'socket() leaves $! alone');
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
    my $peer = OldPeer->client(version => '0.19', port => $own_port, idle => loop_of($own))
        or die OldPeer->error;
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
    my ($context, @frame, @warnings) = ('not called');
    $own->setcallback(data => sub {
        $_[0]->data;
        $context = wantarray;
        @frame = caller 0;
        my $u;
        my $s = "x$u";
    });
    local $SIG{__WARN__} = sub { push @warnings, @_ };
    my $peer = OldPeer->client(version => '0.19', port => $own_port, idle => loop_of($own))
        or die OldPeer->error;
    $peer->send('x');
    run_until($own, sub { @warnings });
    like($warnings[0], qr/uninitialized .* at \Q$0\E line \d+/, 'warnings in callbacks name their line');
    is($context, undef, 'callbacks are called in void context');
    is_deeply([ @frame[3, 4, 5] ], [ 'main::__ANON__', 1, undef ], 'caller() in a callback');
}

# No warnings of the module's own, under -w and use warnings.
{
    my @warnings;
    local $SIG{__WARN__} = sub { push @warnings, @_ };
    local $^W = 1;
    my $echo = spawn_server();
    foreach my $options ([], [ donotencrypt => 1 ], [ donotcompress => 1 ],
        [ password => 'unused', requirepassword => 0 ]) {
        my $client = Net::EasyTCP->new(mode => 'client', host => '127.0.0.1', port => $echo->{port},
            @$options) or die $@;
        $client->send($_), $client->receive foreach 'x', [1], '';
        $client->close;
    }
    Net::EasyTCP->new(mode => 'client');
    is_deeply(\@warnings, [], 'no warnings');
    $echo->kill('TERM');
}

done_testing();
