# What a program can see besides the values: reference counts, what may be changed, magic that is called once,
# iterators that are under way, $@ and warnings.

use strict;
use warnings;

use Test::More;
use lib 't/lib';

use B ();
use EasyTCPTest;
use Net::EasyTCP;
use Scalar::Util qw(readonly refaddr reftype);
use Storable;
use StorableTest;

my @warnings;
local $SIG{__WARN__} = sub { push @warnings, $_[0] };

# ---- reference counts -------------------------------------------------------------------------------

# The counts of everything that $ref leads to, in the order of describe().
sub counts {
    my ($ref, $seen) = @_;
    return () if ref(B::svref_2object($ref)) eq 'B::SPECIAL' || $seen->{ refaddr $ref }++;
    my $type  = reftype $ref;
    my @inner = $type eq 'ARRAY' ? map { exists $ref->[$_] ? \$ref->[$_] : () } 0 .. $#$ref
        : $type eq 'HASH' ? map { \$ref->{$_} } sort keys %$ref
        : $type eq 'REF' ? $$ref : ();
    return (B::svref_2object($ref)->REFCNT, map { counts($_, $seen) } @inner);
}

my $compared = 0;
for (read_table('storable-values.txt', 4)) {
    my ($name, undef, $image) = @$_;
    next if $image !~ /\A(?:[0-9a-f]{2})+\z/ || $name =~ /tied|^bless_300$/;
    my $want = eval { Storable::thaw(pack 'H*', $image) };
    next if !ref $want;
    my $got = Net::EasyTCP::_thaw(pack 'H*', $image);
    # Constants as elements are copies here, so that they may be changed.
    next if describe($want) =~ /INPB|undef/ || ref(B::svref_2object($want)) eq 'B::SPECIAL';
    is("@{[ counts($got, {}) ]}", "@{[ counts($want, {}) ]}", "$name: reference counts");
    $compared++;
}
cmp_ok($compared, '>', 100, 'of enough values');

# ---- what may be changed ----------------------------------------------------------------------------

{
    my $got = Net::EasyTCP::_thaw("\5\13\2\0\0\0\6\17\20\16\37\0\0\0\0\1\12\1x");
    is(scalar(grep { readonly($got->[$_]) } 0 .. $#$got), 0,
        'elements are not read-only, constants in the image or not');
    $_ = 'changed' for @$got;
    is_deeply($got, [ ('changed') x 6 ], 'and each may be changed on its own');
    my $hash = Net::EasyTCP::_thaw("\5\13\3\0\0\0\2\17\0\0\0\1a\0\0\0\0\1\0\0\0\1b");
    $hash->{a} = 5;
    is_deeply($hash, { a => 5, b => 1 }, 'nor do the values of a hash hang together');
    my ($one, $none) = (1, 0);    # so that nothing is compared before the program runs
    my @constants = map { "$_" } $one == 1, $one == $none;
    is_deeply(\@constants, [ '1', '' ], 'the constants are as they were');
}

# ---- magic ------------------------------------------------------------------------------------------

{
    package Counted;
    our ($fetched, $value) = (0);
    sub TIESCALAR { return bless [], shift }
    sub FETCH { $fetched++; return $value }
}
{
    my $server = spawn_server(donotencrypt => 1, donotcompress => 1);
    my $client = Net::EasyTCP->new(mode => 'client', host => '127.0.0.1', port => $server->{port})
        or BAIL_OUT($@);
    tie my $tied, 'Counted';
    for my $value ('text', [ 1, 2 ], { a => { b => undef } }, '', 'x' x 100_000) {
        ($Counted::fetched, $Counted::value) = (0, $value);
        my $what = ref $value || length($value) . ' bytes';
        ok($client->send($tied), "a tied scalar with $what is sent");
        is($Counted::fetched, 1, "a tied scalar with $what is asked once");
        is_deeply(scalar $client->receive, $value, "a tied scalar with $what arrives");
    }
    ($Counted::fetched, $Counted::value) = (0, undef);
    is($client->send($tied), undef, 'undef behind a tie is not sent');
    is($Counted::fetched, 1, 'and was asked for once');

    # Under way: an iterator, a position, an error of the program's own.
    my %hash = map { $_ => [$_] } 'a' .. 'j';
    my $text = 'aXbXc';
    $text =~ /X/g;
    my ($first) = each %hash;
    $@ = 'of the program';
    ok($client->send([ \%hash, \$text ]), 'a structure is sent');
    is($@, 'of the program', '$@ is left alone by success');
    my @rest = map { scalar each %hash } 2 .. 10;
    is_deeply([ sort $first, @rest ], [ 'a' .. 'j' ], 'an iterator goes on where it was');
    is(pos $text, 2, 'and so does a match');
    is_deeply($client->receive, [ \%hash, \'aXbXc' ], 'the structure arrives');

    # Storable's errors.
    for my $bad ([ sub { } ], { glob => \*STDOUT }) {
        my $sent = eval { $client->send($bad) };
        my $ours = $@;
        eval { Storable::nfreeze($bad) };
        s/ at .*//s for $ours, my $its = $@;
        is($ours, $its, "Storable's own error: $its");
    }
    ok($client->send('after'), 'the connection goes on');
    is($client->receive, 'after', 'and nothing of them was sent');
    $server->kill;
}

is_deeply(\@warnings, [], 'no warnings');

done_testing();
