# Golden values: what is frozen is what nfreeze makes, and what is thawed is what thaw makes, down to the
# flags of the scalars. Images by other releases of Storable are thawed as the local one does.

use strict;
use warnings;

use Test::More;
use lib 't/lib';

use Net::EasyTCP;
use Storable;
use StorableTest;

my @values   = read_table('storable-values.txt', 4);
my @releases = read_table('storable-releases.txt', 3);

# Known to crash Storable itself.
my %crashes = (vec => 1);

# Storable freezes what substr and their like return as undef; see t/38-storable-magic.t.
my %is_read_first = (format_lvalue => 1);

sub freeze { my ($value) = @_; return eval { Net::EasyTCP::_freeze($value) } }

sub nfreeze { my ($value) = @_; return eval { Storable::nfreeze($value) } }

sub is_frozen_alike {
    my ($name, $expression) = @_;
    my $value = value_of($expression);
    my $want  = nfreeze($value);
    my $why   = $@;
    my $got   = freeze($value);
    if (defined $want) {
        is(hex_of($got), hex_of($want), "$name: frozen as nfreeze does");
    }
    else {
        $why =~ s/ at .*//s;
        like($@, qr/^\Q$why\E/, "$name: refused as nfreeze does");
    }
    # Once more on a fresh one, which has never been through Storable, and leaves as it came.
    $value = value_of($expression);
    local $Storable::canonical = 1;
    my $before = describe(\$value);
    $got = freeze($value);
    is(describe(\$value), $before, "$name: freezing changes nothing") if defined $got && $got !~ /THk/;
    is(hex_of($got), hex_of(nfreeze($value)), "$name: frozen alike in canonical order") if defined $want;
    return $want;
}

sub is_thawed_alike {
    my ($name, $image) = @_;
    my $want = eval { Storable::thaw($image) };
    my $got  = eval { Net::EasyTCP::_thaw($image) };
    if ($name =~ /^bless_300\b/) {
        like($@, qr/^impossible class name/, "$name: 255 bytes are enough for a class");
    }
    elsif (ref $want) {
        is(describe($got), describe($want), "$name: thawed as thaw does") or diag($@);
    }
    else {
        ok(!defined $got || ref $got, "$name: thaw cannot read it here, we may");
    }
}

for (@values) {
    my ($name, $order, $image, $expression) = @$_;
    next if $crashes{$name} || $is_read_first{$name};
    local $Storable::canonical = $order eq 'sorted';
    my $frozen = is_frozen_alike($name, $expression);
    is_thawed_alike("$name, golden image", pack 'H*', $image) if $image =~ /^0/;
    next if !defined $frozen;
    is_thawed_alike("$name, local image", $frozen);
    is_thawed_alike("$name, native order", Storable::freeze(value_of($expression)));
}

for (@releases) {
    my ($release, $name, $image) = @$_;
    is_thawed_alike("Storable $release: $name", pack 'H*', $image);
}

# The items that Storable knows from 3.27 on are known here with any Storable.
is_deeply(Net::EasyTCP::_thaw("\5\13\2\0\0\0\3\42\43\42"), [ 1, '', 1 ], 'booleans');
is_deeply(Net::EasyTCP::_thaw("\5\13\4\42"), \\1, 'a reference to a boolean');

# A weak reference to a restricted hash, which is read-only as a whole.
{
    require Hash::Util;
    require Scalar::Util;
    my $locked = { a => 1 };
    Hash::Util::lock_keys(%$locked, qw(a b));
    my $root = [ $locked, $locked ];
    Scalar::Util::weaken($root->[1]);
    my $got = Net::EasyTCP::_thaw(Storable::nfreeze($root));
    ok(Scalar::Util::isweak($got->[1]) && $got->[0] == $got->[1], 'a weak reference to a restricted hash');
    ok(!eval { $got->[0]{c} = 1; 1 }, 'which is restricted still');
}

done_testing();
