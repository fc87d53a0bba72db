# What may come in may go out: structures nested as deep as the reader takes are frozen again, whatever
# Storable's own limits, and without the C stack. Each kind of item takes its turn at the deep end.

use strict;
use warnings;

use Test::More;
use lib 't/lib';

use EasyTCPTest;
use Net::EasyTCP;
use Scalar::Util qw(weaken);
use Storable;
use StorableTest;

# References to arrays that Perl code can take apart and put together; 20000 levels of items may come in.
my $LEVELS = 9990;

sub wrapped {
    my ($value, $levels) = @_;
    $value = [$value] for 1 .. $levels;
    return $value;
}

# Each value as it is, and behind many levels: the items must be the same.
my %value = (
    'an array'         => sub { [ 1, 'two', undef ] },
    'a hash'           => sub { { a => 1 } },
    'a scalar'         => sub { \'text' },
    'an object'        => sub { bless { a => [] }, 'Plain' },
    'overloading'      => sub { bless {}, 'TOv' },
    'a hook'           => sub { bless { v => 5 }, 'THk' },
    'hooked items'     => sub { bless { a => [ 1, bless({ v => 1 }, 'THk') ], b => {} }, 'THkR' },
    'a declining hook' => sub { bless { v => [] }, 'THkN' },
    'an attached hook' => sub { bless [ 1, 2 ], 'THkA' },
    'a tied hash'      => sub { tie my %hash, 'Tie::StdHash'; $hash{a} = 1; \%hash },
    'a tied array'     => sub { tie my @array, 'Tie::StdArray'; push @array, 1; \@array },
    'a tied scalar'    => sub { tie my $scalar, 'TTs'; $scalar = 1; \$scalar },
    'a tied element'   => sub { tie my %hash, 'Tie::StdHash'; $hash{a} = 1; \$hash{a} },
    'a restricted hash' => sub { my %hash = (a => 1); Hash::Util::lock_keys(%hash, 'a', 'b'); \%hash },
    'a weak reference' => sub { my $self = {}; $self->{me} = $self; weaken($self->{me}); $self },
    'an expression'    => sub {qr/a.b/i},
);

for my $name (sort keys %value) {
    my $value = $value{$name}->();
    my $bare  = substr Storable::nfreeze($value), 2;
    my $deep  = eval { Net::EasyTCP::_freeze(wrapped($value, $LEVELS)) };
    is($@, '', "$name behind $LEVELS arrays is frozen");
    # Behind a reference, an overloading one has another opcode.
    my $op = $name eq 'overloading' ? "\x14" : "\4";
    my $arrays = "\2\0\0\0\1\4" x ($LEVELS - 1) . "\2\0\0\0\1$op";
    is(substr($deep, 2, length $arrays), $arrays, "$name: the arrays");
    # What refers to itself does so by another number there.
    next if $name =~ /weak|hooked items/;
    is(hex_of(substr $deep, 2 + length $arrays), hex_of($bare), "$name: and itself as at the surface");
}

# Every kind of nesting that the reader takes to its last level comes back the same, byte by byte.
my %nest = (
    arrays            => "\2\0\0\0\1\4",
    references        => "\4\4",
    'flagged hashes'  => "\31\0\0\0\0\1\4",
    hashes            => "\3\0\0\0\1\4",
    objects           => "\22\0\2\0\0\0\1\4",
    'restricted ones' => "\31\1\0\0\0\1\4",
);
my %close = ('flagged hashes' => "\1\0\0\0\3\xe2\x98\xba", hashes => "\0\0\0\1a",
    'restricted ones' => "\0\0\0\0\1a");
for my $kind (sort keys %nest) {
    my $levels = 9999;
    my $start  = $kind eq 'objects' ? "\21\5Plain\2\0\0\0\1\4" : '';
    my $image  = "\5" . chr(Net::EasyTCP::_freeze([]) =~ /^.(.)/s ? ord $1 : 0) . $start
        . $nest{$kind} x ($levels - 1)
        . "\2\0\0\0\0" . ($close{$kind} || '') x ($levels - 1);
    my $value = eval { Net::EasyTCP::_thaw($image) };
    SKIP: {
        skip "$kind do not come in so deep here", 1 if !ref $value && $kind =~ /restricted/;
        ok(ref $value, "$levels nested $kind come in") or diag($@);
        ok(Net::EasyTCP::_freeze($value) eq $image, "$levels nested $kind go out again");
        ok(length(Net::EasyTCP::_freeze({ answer => [ $value, $value ] })) > length $image,
            "$kind with something around");
    }
}

# Beyond, Storable's limits count, or none where it has none; here is no stack that could end.
SKIP: {
    skip 'this Storable has no limit of its own', 1 if !defined $Storable::recursion_limit;
    local $Storable::recursion_limit      = -1;
    local $Storable::recursion_limit_hash = -1;
    my $value = wrapped([], 500_000);
    is(length Net::EasyTCP::_freeze($value), 2 + 500_000 * 6 + 5,
        'half a million levels when Storable has no limit');
    $value = $value->[0] while @$value;
}

# The server of the manual answers what it could not have frozen before, and goes on.
{
    my $server = spawn_server();
    my $client = Net::EasyTCP->new(mode => 'client', host => '127.0.0.1', port => $server->{port})
        or BAIL_OUT("cannot connect: $@");
    for my $levels (600, $LEVELS) {
        ok(eval { $client->send(wrapped('end', $levels)) }, "$levels levels are sent") or diag($@);
        my $got = $client->receive;
        my $depth = 0;
        for (; ref $got; $got = $got->[0]) { $depth++ }
        is("$depth $got", "$levels end", 'and answered');
    }
    $client->send('after');
    is($client->receive, 'after', 'the server goes on');
    $client->close;
    $server->kill('TERM');
}

done_testing();
