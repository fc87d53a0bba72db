# allowclasses: which objects may arrive. Of classes that may not, nothing runs and nothing is loaded; the
# receiver hears of it, and the connection goes on. Clients and servers, with images of every kind.

use strict;
use warnings;

use Test::More;
use lib 't/lib';

use EasyTCPTest;
use OldPeer;
use Net::EasyTCP;
use Scalar::Util ();
use Storable;
use Tie::Array;
use Tie::Hash;
use Tie::Scalar;

# What ran of the classes below, and which modules were looked for.
my (@ran, @loaded);

sub ran { push @ran, join ' ', @_; return }

{
    package Seen::Plain;
    sub DESTROY { main::ran('Plain DESTROY') }

    package Seen::Hook;
    sub STORABLE_freeze { my ($self, $cloning) = @_; return ('state', $self->{ref} ? $self->{ref} : ()) }
    sub STORABLE_thaw { my ($self, $cloning, $state, $ref) = @_; main::ran('Hook thaw'); $self->{ref} = $ref }
    sub DESTROY { main::ran('Hook DESTROY') }

    package Seen::Attach;
    sub STORABLE_freeze { return 'state' }
    sub STORABLE_attach { main::ran('Attach attach'); return bless [], $_[0] }
    sub DESTROY { main::ran('Attach DESTROY') }

    package Seen::Over;
    use overload '""' => sub { main::ran('Over string'); return 'over' }, fallback => 1;
    sub DESTROY { main::ran('Over DESTROY') }

    package Seen::Tie;
    our @ISA = ('Tie::StdHash');
    for my $method (qw(TIEHASH FETCH STORE FIRSTKEY NEXTKEY EXISTS SCALAR)) {
        no strict 'refs';
        my $inherited = Tie::StdHash->can($method) || sub {1};
        *$method = sub { main::ran("Tie $method"); goto &$inherited };
    }
    sub DESTROY { main::ran('Tie DESTROY') }

    package Seen::TieArray;
    our @ISA = ('Tie::StdArray');
    sub FETCH { main::ran('TieArray FETCH'); return $_[0][ $_[1] ] }
    sub DESTROY { main::ran('TieArray DESTROY') }

    package Seen::TieScalar;
    our @ISA = ('Tie::StdScalar');
    sub FETCH { main::ran('TieScalar FETCH'); return ${ $_[0] } }
    sub DESTROY { main::ran('TieScalar DESTROY') }
}

sub plain { return bless { n => 1, @_ }, 'Seen::Plain' }

sub image {
    my ($value, %renamed) = @_;
    my $image = Storable::nfreeze($value);
    for (keys %renamed) { $image =~ s/$_/$renamed{$_}/g }
    return $image;
}

# Images, and the class that is refused when none is allowed.
sub objects {
    tie my %hash, 'Seen::Tie';
    $hash{inner} = 1;
    tie my @array, 'Seen::TieArray';
    tie my $scalar, 'Seen::TieScalar';
    my $hook   = bless { ref => plain() }, 'Seen::Hook';
    my $weak   = [ plain() ];
    my $shared = plain();
    no warnings 'once';
    my $code   = do { local $Storable::Deparse = 1; image({ code => sub { main::ran('code') } }) };
    my $pattern = eval { image([qr/x(?{ main::ran('regexp') })/]) };    # some Storables cannot
    Scalar::Util::weaken($weak->[1] = $weak->[0]);
    return (
        'an object'                        => [ 'Seen::Plain',     image(plain()) ],
        'an object deep inside'            => [ 'Seen::Plain',     image([ { a => [ \\plain() ] } ]) ],
        'an object met twice'              => [ 'Seen::Plain',     image([ 1, $shared, $shared ]) ],
        'an object weakly referred to'     => [ 'Seen::Plain',     image($weak) ],
        'a class without an object'        => [ 'Seen::Plain',
            "\5\13\2\0\0\0\2\5\21\13Seen::Plain\0\0\0\0\1" ],
        'an object that a duplicate key drops' => [ 'Seen::Plain',
            "\5\13\3\0\0\0\2\4\21\13Seen::Plain\3\0\0\0\0\0\0\0\1a\5\0\0\0\1a" ],
        'an object in a damaged image'     => [ 'Seen::Plain',     image([ plain(), 'end' ],
            'end$' => 'en') ],
        'an object with a hook'            => [ 'Seen::Hook',      image([ bless {}, 'Seen::Hook' ]) ],
        "an object inside a hook's image"  => [ 'Seen::Plain',     image($hook) ],
        'an object that attaches'          => [ 'Seen::Attach',    image([ bless [], 'Seen::Attach' ]) ],
        'an object that overloads'         => [ 'Seen::Over',      image([ bless [], 'Seen::Over' ]) ],
        'a tied hash'                      => [ 'Seen::Tie',       image(\%hash) ],
        'a tied array'                     => [ 'Seen::TieArray',  image([ \@array ]) ],
        'a tied scalar'                    => [ 'Seen::TieScalar', image([ \$scalar ]) ],
        $pattern ? ('a regular expression' => [ 'Regexp', $pattern ]) : (),
        'a class whose module is not here' => [ 'Gone::Over',
            image([ bless [], 'Seen::Over' ], 'Seen::Over' => 'Gone::Over') ],
        'a hook whose module is not here'  => [ 'Gone::Hook',
            image([ bless {}, 'Seen::Hook' ], 'Seen::Hook' => 'Gone::Hook') ],
        'code'                             => [ undef, $code ],
    );
}

my %object = objects();
my @names  = sort keys %object;

# What hooks leave in a class on the way out is not what is tested.
sub forget { (@ran, @loaded) = (); return }
unshift @INC, sub { push @loaded, $_[1] if $_[1] !~ /^(?:unicore|auto)/; return };
forget();

sub is_untouched {
    my ($name) = @_;
    is_deeply(\@ran,    [], "$name: nothing ran");
    is_deeply(\@loaded, [], "$name: and nothing was loaded");
    forget();
    return;
}

sub refusal {
    my ($class) = @_;
    my $what = defined $class ? "class $class" : 'code';
    return qr/^Received data refused: \Q$what\E is not allowed$/;
}

# ---- clients ----------------------------------------------------------------------------------------

# A client of a server that sends the images of the names it is told, each with a message behind.
sub client_of_images {
    my (%options) = @_;
    my $child = spawn_peer(sub {
        my ($me, $peer) = @_;
        while (defined(my $name = $me->hear)) {
            $peer->raw_send(packet(7, $object{$name}[1])) if $name ne 'plain';
            $peer->raw_send(packet(7, Storable::nfreeze([ 'after', { $name => undef } ])));
        }
        POSIX::_exit(0);
    }, version => '0.26', lossy => 0);
    my $client = Net::EasyTCP->new(mode => 'client', host => '127.0.0.1', port => $child->{port}, %options)
        or BAIL_OUT("cannot connect: $@");
    return ($child, $client);
}

{
    my ($child, $client) = client_of_images(allowclasses => 'none');
    for my $name (@names) {
        $child->tell($name);
        $@ = '';
        is($client->receive, undef, "client, none: $name: refused");
        like($@, refusal($object{$name}[0]), "client, none: $name: \$\@ names it");
        is_untouched("client, none: $name");
        is_deeply($client->receive, [ 'after', { $name => undef } ], "client, none: $name: the next message");
    }
    $child->tell('an object');
    $child->tell('plain');
    is_deeply([ map { scalar $client->receive } 1 .. 3 ], [ undef, [ 'after', { 'an object' => undef } ],
        [ 'after', { plain => undef } ] ], 'client, none: refused messages keep their place');
    $client->close;
    $child->kill;
}
forget();

{
    my ($child, $client) = client_of_images(allowclasses => [ 'Seen::Hook', 'Seen::Over', 'Gone::Over',
        'Regexp' ]);
    my %allowed = map { $_ => 1 } 'an object with a hook', 'an object that overloads', 'a regular expression';
    for my $name (grep { !$allowed{$_} && $object{$_}[0] && $object{$_}[0] !~ /^Gone::Over/ } @names) {
        $child->tell($name);
        $@ = '';
        is($client->receive, undef, "client, a list: $name: refused");
        like($@, refusal($object{$name}[0]), "client, a list: $name: \$\@ names it");
        is_untouched("client, a list: $name");
        is_deeply($client->receive, [ 'after', { $name => undef } ],
            "client, a list: $name: the next message");
    }
    $child->tell('an object with a hook');
    my $got = $client->receive;
    is(ref $got->[0], 'Seen::Hook', 'client, a list: a listed class with a hook arrives');
    undef $got;
    is_deeply(\@ran, [ 'Hook thaw', 'Hook DESTROY' ], 'client, a list: its hook and DESTROY run');
    $client->receive;
    $child->tell('an object that overloads');
    $got = $client->receive;
    is("$got->[0]", 'over', 'client, a list: a listed class that overloads arrives, and does');
    undef $got;
    $client->receive;
    forget();
    $child->tell('a class whose module is not here');
    $client->receive;
    is_deeply([ grep { $_ ne 'Carp/Heavy.pm' } @loaded ], ['Gone/Over.pm'],    # perl 5.8's Storable croaks
        'client, a list: Storable looks for the module of a listed class');
    $client->close;
    $child->kill;
}
forget();

{
    my ($child, $client) = client_of_images(allowclasses => 'Seen::Plain');
    $child->tell('an object');
    my $got = $client->receive;
    is(ref $got, 'Seen::Plain', 'client, one name: that class arrives');
    $client->receive;
    $child->tell('an object with a hook');
    is($client->receive, undef, 'client, one name: others do not');
    like($@, refusal('Seen::Hook'), 'client, one name: $@ names it');
    $client->close;
    $child->kill;
}

for my $all ([], [ allowclasses => 'all' ]) {
    my ($child, $client) = client_of_images(@$all);
    for my $name ('an object deep inside', 'an object with a hook', "an object inside a hook's image",
        'a tied hash') {
        $child->tell($name);
        ok(ref $client->receive, "client, all: $name arrives") or diag($@);
        $client->receive;
    }
    $client->close;
    $child->kill;
}
forget();

# ---- servers ----------------------------------------------------------------------------------------

# Sends bytes to a new server, and returns what its callback saw: [ data in scalar context, data in list
# context with its second value, $@ ] in turn, until a message "end" came.
sub seen_by_server {
    my ($options, @packets) = @_;
    my (@seen, $end);
    my ($server, $port) = new_server(%$options);
    $server->setcallback(data => sub {
        my ($client) = @_;
        local $@ = '';
        my @data = @seen % 2 ? $client->data : scalar $client->data;
        $end = 1 if defined $data[0] && $data[0] eq 'end';
        push @seen, [ $@, @data ];
    });
    my $idle = loop_of($server);
    my $sock = raw_connect($port);
    raw_negotiate($sock, $idle);
    syswrite $sock, join '', @packets, packet(5, 'end');
    run_until($server, sub {$end});
    is(scalar $server->clients, 1, 'the client is still there');
    return @seen;
}

{
    my @seen = seen_by_server({ allowclasses => 'none' }, map { packet(7, $object{$_}[1]) } @names);
    is(scalar @seen, @names + 1, 'server, none: the callback is called for each message');
    for my $name (@names) {
        my ($error, @data) = @{ shift @seen };
        is_deeply([ grep { defined } @data ], [], "server, none: $name: data() returns undef");
        like($error, refusal($object{$name}[0]), "server, none: $name: \$\@ names it");
    }
    is($seen[0][1], 'end', 'server, none: the message behind them arrives');
    is_untouched('server, none');
}

{
    my @seen = seen_by_server({ allowclasses => ['Seen::Plain'] },
        map { packet(7, $object{$_}[1]) } 'an object', 'an object with a hook',
        "an object inside a hook's image",
        'an object deep inside');
    is(ref $seen[0][1], 'Seen::Plain', 'server, a list: a listed class arrives');
    like($seen[1][0], refusal('Seen::Hook'), 'server, a list: another does not');
    like($seen[2][0], refusal('Seen::Hook'), 'server, a list: nor does it with a listed one inside');
    is(ref ${ ${ $seen[3][1][0]{a}[0] } }, 'Seen::Plain', 'server, a list: deep inside, too');
    is_deeply([ grep { /Hook/ } @ran ], [], 'server, a list: no hook ran');
}

done_testing();
