package StorableTest;

# What the tests of serialisation share: a description of a structure down to the flags of its scalars, the
# values of t/data/storable-values.txt, and the classes they use.

use strict;
use B ();
use Exporter ();
use Hash::Util ();
use Scalar::Util qw(blessed isvstring readonly refaddr reftype);
use Storable ();
use Tie::Array;
use Tie::Hash;
use Tie::Scalar;
use vars qw(@ISA @EXPORT %Seen);

@ISA    = qw(Exporter);
@EXPORT = qw(describe faults_of read_table value_of hex_of is_64_bit);

# Classes that overload, and with hooks of all kinds.
{
    package TOv;
    use overload '""' => sub {'ov'}, fallback => 1;

    # Before 5.36 a number becomes a string, too, when it is used as one: hence copies.
    package THk;
    sub STORABLE_freeze { my ($self) = @_; my $v = $self->{v}; return 'data:' . (defined $v ? $v : '') }
    sub STORABLE_thaw { my ($self, $cloning, $data) = @_; $self->{v} = substr $data, 5; return }

    package THkR;
    sub STORABLE_freeze { my ($self) = @_; return ('R', $self->{a}, $self->{b}) }
    sub STORABLE_thaw { my ($self, $cloning, $data, @refs) = @_; @$self{qw(a b)} = @refs; return }

    package THkN;
    sub STORABLE_freeze { return }

    package THkA;
    sub STORABLE_freeze { my ($self) = @_; my @copy = @$self; return join ',', @copy }
    sub STORABLE_attach { my ($class, $cloning, $data) = @_; return bless [ split /,/, $data ], $class }

    package THkS;
    sub STORABLE_freeze { my ($self) = @_; return "s$$self" }
    sub STORABLE_thaw { my ($self, $cloning, $data) = @_; $$self = substr $data, 1; return }

    package THkL;
    sub STORABLE_freeze { return 'L' x 300 }
    sub STORABLE_thaw { return }

    package TTs;
    @TTs::ISA = ('Tie::StdScalar');
}

my @flags = ([ I => B::SVf_IOK() ], [ N => B::SVf_NOK() ], [ P => B::SVf_POK() ]);

sub _bytes { my ($text) = @_; utf8::encode($text) if utf8::is_utf8($text); return unpack 'H*', $text }

sub _is_utf8 { my $copy = shift; return utf8::is_utf8($copy) }

# The literal of a version string; an element of a tied container has other magic, too.
sub _literal {
    my ($object) = @_;
    my $magic = $object->MAGIC;
    $magic = $magic->MOREMAGIC while $magic->TYPE ne 'V' && $magic->MOREMAGIC;
    return $magic->TYPE eq 'V' ? $magic->PTR : '';
}

# A scalar that is no reference: its public flags and its value.
sub _scalar {
    my ($ref) = @_;
    my $object = B::svref_2object($ref);
    # The constants have no flags to show: a copy of them has.
    my $copy = $$ref;
    $object = B::svref_2object(\$copy) if ref($object) eq 'B::SPECIAL';
    return 'undef' if !defined $copy;
    my $flags = join '', map { $object->FLAGS & $_->[1] ? $_->[0] : () } @flags;
    # Whether an empty string keeps this flag depends on the release of Storable.
    $flags .= 'U' if length $copy && _is_utf8($$ref);
    $flags .= 'B' if defined &builtin::is_bool && do { no warnings; builtin::is_bool($copy) };
    $flags .= 'R' if readonly($$ref) && ref(B::svref_2object($ref)) ne 'B::SPECIAL';
    $flags .= 'V' . _literal($object) if isvstring($copy);
    return "$flags:" . _bytes($copy);
}

sub _array {
    my ($array, $path) = @_;
    return '['
        . join(',', map { exists $array->[$_] ? _referent(\$array->[$_], "$path.$_") : '-' } 0 .. $#$array)
        . ']';
}

# Perl hands out keys of characters up to 255 as they came: with the flag, or without.
sub _key {
    my ($key) = @_;
    return (_is_utf8($key) ? 'U' : '') . _bytes($key);
}

sub _hash {
    my ($hash, $path) = @_;
    my $restricted = '';
    $restricted = 'restricted(' . join(',', sort(Hash::Util::legal_keys(%$hash))) . ')'
        if Internals::SvREADONLY(%$hash);
    return "$restricted\{"
        . join(',', map {
            my $key = _key($_);
            "$key=>" . _referent(\$hash->{$_}, "$path.$key");
        } sort keys %$hash)
        . '}';
}

sub _reference {
    my ($ref, $path) = @_;
    my $is_constant = ref(B::svref_2object($$ref)) eq 'B::SPECIAL';
    return (Scalar::Util::isweak($$ref) ? '~' : '\\')
        . ($is_constant ? 'constant ' . _scalar($$ref) : _referent($$ref, "$path>"));
}

sub _content {
    my ($ref, $path) = @_;
    my $type = reftype($ref);
    my $tie = $type eq 'ARRAY' ? tied @$ref : $type eq 'HASH' ? tied %$ref
        : $type =~ /^(?:SCALAR|REF|LVALUE|VSTRING)$/ ? tied $$ref : undef;
    return "tied $type " . _referent($tie, "$path!") if ref $tie;
    return _array($ref, $path) if $type eq 'ARRAY';
    return _hash($ref, $path) if $type eq 'HASH';
    return $type if $type =~ /^(?:CODE|GLOB|IO|FORMAT)$/;
    return 'qr' . join '/', map { _bytes($_) } re::regexp_pattern($ref) if $type eq 'REGEXP';
    return ref $$ref ? _reference($ref, $path) : _scalar($ref);
}

# What $ref refers to. Anything met twice is named by the path to where it was met first.
sub _referent {
    my ($ref, $path) = @_;
    if (ref(B::svref_2object($ref)) ne 'B::SPECIAL') {
        return "#$Seen{refaddr $ref}" if defined $Seen{ refaddr $ref };
        $Seen{ refaddr $ref } = $path;
    }
    my $class = blessed $ref;
    return (defined $class ? "<$class>" : '') . _content($ref, $path);
}

sub describe {
    my ($ref) = @_;
    local %Seen;
    no warnings 'recursion';
    return ref $ref ? _referent($ref, '') : 'no reference';
}

# ---- shape: that a structure is one that Perl itself could have made -------------------------------------

# What elements, values and the targets of ties may be. Absent elements and the constants are SPECIAL.
my %is_scalar = map { ("B::$_" => 1) } qw(NULL IV NV RV PV PVIV PVNV PVMG BM PVLV REGEXP SPECIAL);

sub _is_object { my ($b) = @_; return $b->can('SvSTASH') && ref $b->SvSTASH eq 'B::HV' }

# Faults of the magic of a value, and what it refers to.
sub _magic {
    my ($b, $note) = @_;
    return () if !$b->can('MAGIC') || !($b->FLAGS & (B::SVs_GMG() | B::SVs_SMG() | B::SVs_RMG()));
    my @inner;
    for my $magic ($b->MAGIC) {
        next if $magic->TYPE !~ /\A[Ppq]\z/;
        my $tie = $magic->OBJ;
        if ($tie->can('FLAGS') && $tie->FLAGS & B::SVf_ROK() && _is_object($tie->RV)) {
            push @inner, $tie;
        }
        else {
            $note->('tied to no object');
        }
    }
    return @inner;
}

sub _inner {
    my ($b, $note) = @_;
    my $kind  = ref $b;
    my @inner = _magic($b, $note);
    my @elements;
    return @inner if @inner && $kind =~ /AV|HV/;    # B would ask the tie for the size
    @elements = $b->ARRAY if $kind eq 'B::AV';
    @elements = do { my %pair = $b->ARRAY; values %pair } if $kind eq 'B::HV';
    for (@elements) {
        $note->("$_ in $kind") if !$is_scalar{ ref $_ };
    }
    push @inner, @elements;
    push @inner, $b->RV if $is_scalar{$kind} && $b->FLAGS & B::SVf_ROK();
    return grep { ref $_ ne 'B::SPECIAL' } @inner;
}

# Everything that $ref leads to, looked at from below: arrays and hashes hold scalars only, ties have objects,
# and everything has owners. Returns what is wrong.
sub faults_of {
    my ($ref) = @_;
    my @queue = (B::svref_2object($ref));
    my (%seen, @faults);
    my $note = sub { push @faults, $_[0] };
    while (my $b = shift @queue) {
        next if ref $b eq 'B::SPECIAL' || $seen{$$b}++;
        # Methods of classes and code have all of the program behind them.
        next if ref $b eq 'B::CV' || ref $b eq 'B::GV';
        $note->("$b without an owner") if $b->REFCNT < 1;
        push @queue, _inner($b, $note);
    }
    return @faults;
}

# The lines of a table in t/data, split at the tabs.
sub read_table {
    my ($name, $columns) = @_;
    open my $in, '<', "t/data/$name" or die "t/data/$name: $!";
    my @rows = map { chomp; [ split /\t/, $_, $columns ] } grep { !/^#/ } <$in>;
    close $in;
    return @rows;
}

# The value of an expression, or undef where this Perl does not know what is in it.
sub value_of {
    my ($expression) = @_;
    no strict;
    no warnings;
    my $value = eval "package main; no strict; no warnings; $expression";
    return $value;
}

sub hex_of { return defined $_[0] ? unpack 'H*', $_[0] : '(nothing)' }

# Whether images in native order of the usual machines can be read here.
sub is_64_bit { return length pack('J', 0) == 8 && pack('J', 1) eq "\1" . "\0" x 7 }

1;
