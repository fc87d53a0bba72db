# Freezing and thawing leave nothing behind: every golden value, every golden image, truncations, refusals,
# and structures over a connection, whether it works or fails.

use strict;
use warnings;
use lib 't/lib';

use Test::More;

BEGIN {
    plan skip_all => 'Test::LeakTrace is not here' unless eval { require Test::LeakTrace; 1 };
    Test::LeakTrace->import(qw(leaked_count no_leaks_ok));
}

use EasyTCPTest;
use Net::EasyTCP;
use Scalar::Util ();
use Storable;
use StorableTest;

unshift @INC, sub { die "no modules in this test\n" };
local $SIG{__WARN__} = sub { };

# What code leaves behind the second time: the first may fill caches.
sub leaks {
    my ($code) = @_;
    leaked_count(sub { eval { $code->() }; $@ = '' });
    return leaked_count(sub { eval { $code->() }; $@ = '' });
}

# Cycles that are thawed are for the program to break: they count for Storable, too.
for (read_table('storable-values.txt', 4)) {
    my ($name, undef, $image, $expression) = @$_;
    next if $name eq 'vec';
    my $value  = value_of($expression);
    my $frozen = eval { Storable::nfreeze($value) };
    my $theirs = leaks(sub { Storable::nfreeze($value) });
    my $ours   = leaks(sub { Net::EasyTCP::_freeze($value) });
    cmp_ok($ours, '<=', $theirs, "freezing $name");
    next if !defined $frozen;
    $theirs = leaks(sub { Storable::thaw($frozen) });
    $ours   = leaks(sub { Net::EasyTCP::_thaw($frozen) });
    cmp_ok($ours, '<=', $theirs, "thawing $name");
    next if length $frozen > 200;
    $ours = leaks(sub { eval { Net::EasyTCP::_thaw(substr $frozen, 0, $_) } for 0 .. length($frozen) - 1 });
    is($ours, 0, "truncations of $name");
    $ours = leaks(sub { Net::EasyTCP::_thaw($frozen, 1) });
    cmp_ok($ours, '<=', $theirs, "$name without classes");
}

my %image = (
    'a class that is not here, with a hook' => "\5\13\2\0\0\0\2\2\0\0\0\1\5\23\0\4Gone\1x",
    'a class that is not here, overloading' => "\5\13\2\0\0\0\2\2\0\0\0\1\5\24\21\4Gone\3\0\0\0\0",
    'code'                                  => "\5\13\2\0\0\0\2\2\0\0\0\1\5\4\32\12\1x",
    'a boolean behind a tie'                => "\5\13\2\0\0\0\2\42\13\4\5",
    'a duplicate key'                       => "\5\13\3\0\0\0\2\2\0\0\0\0\0\0\0\1a\5\0\0\0\1a",
    'a duplicate key of an object'          => "\5\13\3\0\0\0\2\21\1A\2\0\0\0\0\0\0\0\1a\5\0\0\0\1a",
    'weak references to nothing else'       => "\5\13\2\0\0\0\2\33\2\0\0\0\0\5",
    'a cycle that ends too early'           => "\5\13\2\0\0\0\3\4\0\0\0\0\0\4\2\0\0\0\1\4\0\0\0\0\0",
    'broken UTF-8'                          => "\5\13\2\0\0\0\2\4\0\0\0\0\0\27\1\xff",
);
for my $name (sort keys %image) {
    my $theirs = leaks(sub { Storable::thaw($image{$name}) });
    my $ours   = leaks(sub { Net::EasyTCP::_thaw($image{$name}) });
    # Perl's own require leaves something when it fails.
    my $perls = $image{$name} =~ /Gone/ ? leaks(sub { require Gone }) : 0;
    cmp_ok($ours, '<=', $perls, "$name (Storable: $theirs)");
}

# ---- over a connection ------------------------------------------------------------------------------

my %plain = (donotencrypt => 1, donotcompress => 1);
my $echo  = spawn_server(%plain);
my $client = Net::EasyTCP->new(mode => 'client', host => '127.0.0.1', port => $echo->{port}, %plain)
    or die $@;
my $shared = { n => 1 };
my $weak   = [ {} ];
Scalar::Util::weaken($weak->[1] = $weak->[0]);
tie my %tied, 'Tie::StdHash';
%tied = (a => 1);
my %structure = (
    plain      => { list => [ 1 .. 20, undef, 0.5, 'x' x 300, "\x{263a}" ], flag => !!1,
        key => { "\x{263a}" => 1 } },
    shared     => [ $shared, \$shared, $shared ],
    weak       => $weak,
    object     => bless({ a => [] }, 'Some::Class'),
    hook       => [ bless({ v => 5 }, 'THk') ],
    overloaded => [ bless({}, 'TOv') ],
    regexp     => [qr/a+/i],
    tied       => \%tied,
    vstring    => [v1.2.3],
    large      => [ ('x' x 50_000) x 4 ],
);
# Freezing a regular expression leaves something in Storable 3.26.
delete $structure{regexp} if leaks(sub { Storable::nfreeze($structure{regexp}) });
for my $name (sort keys %structure) {
    no_leaks_ok { $client->send($structure{$name}); my $got = $client->receive } "$name, there and back";
}
no_leaks_ok { eval { $client->send([ sub { } ]) }; $@ = '' } 'code is not sent';
for my $name (qw(object hook overloaded)) {
    my $strict = Net::EasyTCP->new(mode => 'client', host => '127.0.0.1', port => $echo->{port}, %plain,
        allowclasses => 'none') or die $@;
    no_leaks_ok { $strict->send($structure{$name}); $strict->receive; $@ = '' } "$name, refused";
}
$echo->kill('TERM');

done_testing();
