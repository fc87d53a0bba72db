# Scalars with magic, lvalues, ties and handles as a message, as an element, as a value, behind references:
# what arrives is what reading gives, or the tie as Storable writes it. And Perl code that runs meanwhile,
# whatever it does to the structure.

use strict;
use warnings;

use Test::More;
use lib 't/lib';

use EasyTCPTest;
use Hash::Util ();
use Net::EasyTCP;
use Storable;
use StorableTest;

# Reads by code of its own.
{
    package Counting;
    sub TIESCALAR { my ($class, @values) = @_; return bless [@values], $class }
    sub FETCH { my ($self) = @_; return @$self > 1 ? shift @$self : $self->[0] }
    sub STORE { my ($self, $value) = @_; @$self = ($value); return }
}

{ package Handle; sub TIEHANDLE { my ($class) = @_; return bless [], $class } }

sub freeze { my ($value) = @_; return eval { Net::EasyTCP::_freeze($value) } }

sub echoed {
    my ($value) = @_;
    my $image = freeze($value);
    return defined $image ? Net::EasyTCP::_thaw($image) : $@;
}

# ---- what reading gives -----------------------------------------------------------------------------

my $text = 'abcdef';
my @list = (1, 2, 3);
my @none;
my %hash = (a => 1);
my $bits = 'B';
'first second' =~ /(\w+) (\w+)/ or die;
{ my $at = 'xxyx'; $at =~ /y/g; $hash{at} = $at; pos($hash{at}) = 2 }
$! = 2;
my $errno = "$!";
local $ENV{MAGIC_OF_ENV} = 'value';
local $SIG{USR1} = 'IGNORE';

# References to scalars that are not what they hold, and what reading them gives.
my %read = (
    'substr'              => [ \substr($text, 1, 2),     'bc' ],
    'substr of all'       => [ \substr($text, 0),        'abcdef' ],
    'pos'                 => [ \pos($hash{at}),          2 ],
    'vec'                 => [ \vec($bits, 0, 8),        66 ],
    '$#list'              => [ \$#list,                  2 ],
    'an absent element'   => [ sub { \$_[0] }->($none[9]), undef ],
    'an absent value'     => [ sub { \$_[0] }->($hash{none}), undef ],
    '$1'                  => [ \$1,                      'first' ],
    '$&'                  => [ \$&,                      'first second' ],
    '$!'                  => [ \$!,                      $errno ],
    '$0'                  => [ \$0,                      $0 ],
    '$$'                  => [ \$$,                      $$ ],
    '$,'                  => [ \$,,                      $, ],
    'an environment'      => [ \$ENV{MAGIC_OF_ENV},      'value' ],
    'a signal'            => [ \$SIG{USR1},              'IGNORE' ],
    'an element of @-'    => [ \$-[2],                   6 ],
);
for my $name (sort keys %read) {
    my ($ref, $want) = @{ $read{$name} };
    my %in = (
        'as a message'   => [ sub { $_[0] },          sub { ${ $_[0] } } ],
        'as an element'  => [ sub { [ 1, $_[0], 2 ] }, sub { ${ $_[0][1] } } ],
        'as a value'     => [ sub { { a => $_[0] } }, sub { ${ $_[0]{a} } } ],
        'behind another' => [ sub { \$_[0] },         sub { ${ ${ $_[0] } } } ],
    );
    for my $place (sort keys %in) {
        my ($put, $take) = @{ $in{$place} };
        my $got = echoed($put->($ref));
        is(ref $got ? $take->($got) : "not frozen: $got", $want, "$name $place");
    }
    next if $name !~ /substr|pos|vec/;
    is(${$ref}, $want, "$name is as it was");
}
is_deeply(echoed(\@-), [@-], '@- as a message');
is_deeply(echoed({ a => \@+, b => 5 }), { a => [@+], b => 5 }, '@+ as a value');
is_deeply(echoed([ map { \substr($text, $_, 1) } 0 .. 5 ]), [ map { \$_ } split //, $text ], 'many of them');

# Where an lvalue refers to does not matter: it is read each time, and twice in a message it is one scalar.
{
    my $lvalue = \substr($text, 1, 2);
    my $got = echoed([ $lvalue, $lvalue ]);
    is($got->[0], $got->[1], 'an lvalue met twice is one');
    $text = 'xyz';
    is(${ echoed($lvalue) }, 'yz', 'and read when it is sent');
}

# ---- ties, as Storable writes them ------------------------------------------------------------------

my %tied = (
    'a tied hash'      => sub { tie my %h, 'Tie::StdHash'; %h = (a => 1); \%h },
    'a tied array'     => sub { tie my @a, 'Tie::StdArray'; @a = (1, 2); \@a },
    'a tied scalar'    => sub { tie my $s, 'TTs'; $s = 'x'; \$s },
    'an object that is tied' => sub { tie my %h, 'Tie::StdHash'; %h = (a => 1); bless \%h, 'Plain' },
    'one with a hook'  => sub { tie my %h, 'Tie::StdHash'; %h = (v => 1); bless \%h, 'THk' },
    'a tied element'   => sub { tie my @a, 'Tie::StdArray'; @a = (1, 2); \$a[1] },
    'a tied value'     => sub { tie my %h, 'Tie::StdHash'; %h = (a => 1); \$h{a} },
    'elements of one'  => sub { tie my %h, 'Tie::StdHash'; %h = (a => 1, b => 2); [ \$h{a}, \$h{b}, \%h ] },
    'ties in ties'     => sub {
        tie my %h, 'Tie::StdHash';
        tie my @a, 'Tie::StdArray';
        $h{a} = \@a;
        push @a, \%h;
        \%h;
    },
);
for my $name (sort keys %tied) {
    local $Storable::canonical = 1;
    my $value = $tied{$name}->();
    for my $message ($value, [ 1, $value, $value ], { a => $value }) {
        is(hex_of(freeze($message)), hex_of(Storable::nfreeze($message)), "$name: as nfreeze writes it");
    }
    is(describe(echoed($value)), describe(Storable::thaw(Storable::nfreeze($value))), "$name: and reads it");
}

# An element of a tie is written as such; what a tied scalar holds is read where it is copied.
tie my $counting, 'Counting', 1, 2, 3;
is_deeply(echoed([$counting]), [1], 'a copy of a tied scalar');

# ---- what cannot be frozen --------------------------------------------------------------------------

{
    local *FH;
    tie *FH, 'Handle';
    my %refused = ('a glob' => \*STDOUT, 'a tied handle' => \*FH, 'a handle object' => *STDOUT{IO},
        'code' => sub {1});
    for my $name (sort keys %refused) {
        for my $message ($refused{$name}, [ 1, $refused{$name} ], { a => [ \$refused{$name} ] }) {
            my $want = eval { Storable::nfreeze($message); 1 } ? '' : $@;
            is(freeze($message), undef, "$name is refused");
            s/ at .*//s for $want, $@;
            is($@, $want, "$name: with Storable's own text");
        }
    }
    is_deeply(echoed([1]), [1], 'and the next structure is frozen');
}

# ---- Perl code that runs meanwhile ------------------------------------------------------------------

my $during;
{
    package Meddler;
    sub STORABLE_freeze { my ($self) = @_; return main::meddle($self) }
    sub STORABLE_thaw { my ($self, $cloning, $string) = @_; $self->{seen} = $string; return }
}
sub meddle { my ($self) = @_; return $during->($self) }

sub meddler { return bless {}, 'Meddler' }

{
    my @array = (1, meddler(), 3, 4);
    $during = sub { @array = (); return 'emptied' };
    my $got = echoed(\@array);
    is(scalar @$got, 4, 'a hook empties the array that is being frozen');
    is($got->[1]{seen}, 'emptied', 'its object is there');

    my %in_hash = map { ($_ => meddler()) } 'a' .. 'z';
    $during = sub { %in_hash = (); return 'gone' };
    $got = echoed(\%in_hash);
    is_deeply([ map { $_->{seen} } values %$got ], [ ('gone') x 26 ], 'a hash that its hooks empty');

    my $root = [ [ meddler(), { a => 1 } ], 2 ];
    $during = sub { undef $root; return 'root' };
    $got = echoed($root);
    is_deeply($got->[0][1], { a => 1 }, 'the whole structure is dropped by a hook');

    my @many = map { [ meddler(), [ 'x' x 100 ] ] } 1 .. 50;
    my $count = 0;
    $during = sub {
        splice @many, $count++ % @many, 1 if @many > 1;
        push @many, [ 'y' x $count ];
        return "n$count";
    };
    ok(ref echoed(\@many), 'an array that hooks shuffle');
}
{
    $during = sub { return (freeze([ 'inner', meddled_again() ]), [ 'kept', 5 ]) };
    my $depth = 0;
    sub meddled_again { return $depth++ < 3 ? meddler() : () }
    my $got = echoed([ meddler(), 'outer' ]);
    is($got->[1], 'outer', 'a hook that freezes for itself');
    is_deeply(Net::EasyTCP::_thaw($got->[0]{seen})->[0], 'inner', 'gets its own image');
}
{
    my $dropped = 0;
    { package Dropped; sub DESTROY { $dropped++ } }
    $during = sub { die "by the hook\n" };
    for (1 .. 3) {
        my $value = [ bless([], 'Dropped'), meddler(), { a => meddler() } ];
        is(freeze($value), undef, 'a hook that dies');
        is($@, "by the hook\n", 'with its own text');
    }
    is($dropped, 3, 'and nothing is kept');
    $during = sub { no warnings 'exiting'; last };
    my $rounds = 0;
    { no warnings; for (1 .. 2) { $rounds++; freeze([ meddler() ]) } }
    is(ref echoed([1]), 'ARRAY', 'a hook that leaves by last');
    $during = sub { return 'no', 'reference' };
    freeze([ meddler() ]);
    like($@, qr/^Item #1 returned by STORABLE_freeze for Meddler is not a reference/,
        'what hooks must not return');
    my $toggle = 0;
    $during = sub { return $toggle++ ? () : 'x' };
    freeze([ meddler(), meddler() ]);
    like($@, qr/^Too late to ignore hooks for storing class "Meddler"/, 'nor change their minds about');
    { no strict 'refs'; no warnings; *Meddler::STORABLE_attach = sub { bless {}, shift } }
    $during = sub { return 'x', [] };
    freeze([ meddler() ]);
    like($@, qr/^Freeze cannot return references if Meddler class is using STORABLE_attach/,
        'nor return with attach');
}

# A class whose symbol table is gone, and one whose overloading cannot be resolved.
{
    my $object = bless [], 'Gone::Class';
    { no strict 'refs'; no warnings; undef %{'Gone::Class::'}; delete $Gone::{'Class::'} }
    my $image = freeze([$object]);
    ok(defined $image || $@ =~ /without a name/, 'an object of a class that is gone') or diag($@);
    { package Half; require overload; }
    eval q{package Half; use overload '+' => 'no_such_method'; 1} or die $@;
    freeze([ bless [], 'Half' ]);
    ok(ref echoed([ 1, [2] ]), 'and the next structure after overloading that is missing');
}

# Many classes.
{
    my $value = [ map { bless [], 'Class' . $_ % 700 } 1 .. 2000 ];
    ok(freeze($value) eq Storable::nfreeze($value), '700 classes');
    $value = [ map { bless { v => $_ }, 'Class' . $_ % 700 } 1 .. 2000 ];
    { no strict 'refs'; push @{"Class${_}::ISA"}, 'THk' for 0 .. 699 }
    ok(freeze($value) eq Storable::nfreeze($value), '700 classes with hooks');
}

done_testing();
