# Objects that their class makes: STORABLE_thaw and STORABLE_attach get what Storable gives them, and what
# fails leaves nothing. Classes of the program only, in bounded numbers.

use strict;
use warnings;

use Test::More;
use lib 't/lib';

use EasyTCPTest;
use Hash::Util ();
use Net::EasyTCP;
use Scalar::Util ();
use Storable;
use StorableTest;

my (@calls, $destroyed, @kept);

sub noted {
    my ($hook, $self, @rest) = @_;
    push @calls, "$hook " . describe([ ref $self ? ref $self : $self, @rest ]);
    return;
}

{
    package Hk;
    sub new { my ($class, %self) = @_; return bless {%self}, $class }
    sub STORABLE_freeze { my ($self) = @_; return ($self->{s}, @{ $self->{refs} || [] }) }
    sub STORABLE_thaw {
        main::noted('thaw', @_);
        my ($self, $cloning, $s, @refs) = @_;
        @$self{qw(s refs)} = ($s, \@refs);
        return 'ignored';
    }

    package Hk::List;
    our @ISA = ('Hk');
    sub STORABLE_thaw {
        my ($self, $cloning, $s, @refs) = @_;
        main::noted('thaw', @_[ 0 .. 2 ]);
        $self->{n} = @refs;
        return (1, 2, 3);
    }

    package At;
    my %singleton;
    sub STORABLE_freeze { my ($self) = @_; return $$self }
    sub STORABLE_attach {
        main::noted('attach', @_);
        my ($class, $cloning, $s) = @_;
        return $singleton{$s} ||= bless \(my $copy = $s), $class;
    }

    package At::Wrong;
    sub STORABLE_freeze { return 'w' }
    sub STORABLE_attach { return bless [], 'Else' }

    package At::Array;
    sub STORABLE_freeze { return 'a' }
    sub STORABLE_attach { return bless [1], $_[0] }

    package At::Refs;
    sub STORABLE_freeze { return ('r', [1]) }
    sub STORABLE_attach { return bless {}, $_[0] }

    package Watched;
    sub new { return bless { n => $_[1] }, $_[0] }
    sub DESTROY { eval { $destroyed++ if $_[0]{n} } }

    package Dies;
    sub STORABLE_freeze { return ('d', @{ $_[0]{refs} || [] }) }
    sub STORABLE_thaw { die 'of ', $_[2], "\n" }

    package Keeps;
    our @ISA = ('Watched');
    sub STORABLE_freeze { my ($self) = @_; return ('k', @{ $self->{refs} }) }
    sub STORABLE_thaw { my ($self, undef, undef, @refs) = @_; $self->{n} = 1; $self->{refs} = \@refs; return }

    package Busy;
    sub STORABLE_freeze { return $_[0]{s} }
    sub STORABLE_thaw { $_[0]{s} = $_[2]; $main::busy->() if $main::busy; return }

    package Meddler;
    sub STORABLE_freeze { my ($self) = @_; return ('m', $self->{of}) }
    sub STORABLE_thaw { my ($self, undef, undef, $of) = @_; $main::meddle->($of); return }
}

our ($meddle, $busy);

sub thaw {
    my ($image, @policy) = @_;
    local $@;
    my $value = eval { Net::EasyTCP::_thaw($image, @policy) };
    return ($value, $@);
}

# ---- as Storable does ---------------------------------------------------------------------------------

my $shared = [ 1, undef, { a => 'b' } ];
my $cycle  = Hk->new(s => 'cycle');
$cycle->{refs} = [ $cycle, $shared ];
my $up = { down => Hk->new(s => 'up') };
$up->{down}{refs} = [$up];
my $string = bless \(my $text = 'one'), 'At';
for my $case (
    [ 'a hook',                     Hk->new(s => 'x') ],
    [ 'an empty string',            Hk->new(s => '') ],
    [ 'references',                 Hk->new(s => 'x', refs => [ $shared, \'s', { x => $shared }, \$shared,
        sub { \@_ }->(undef) ]) ],
    [ 'hooks inside hooks',         Hk->new(s => 'x', refs => [ Hk->new(s => 'y', refs => [$shared]),
        $shared ]) ],
    [ 'itself',                     $cycle ],
    [ 'what is around it',          $up ],
    [ 'several of a class',         [ map { Hk->new(s => $_) } 1 .. 3 ] ],
    [ 'an object that is plain',    [ Hk->new(s => 'x', refs => [ bless [], 'Plain' ]), bless {}, 'Plain' ] ],
    [ 'a hook that returns a list', [ Hk::List->new(s => 'x', refs => [$shared]) ] ],
    [ 'attached',                   [ $string, $string, bless \(my $other = 'two'), 'At' ] ],
    [ 'many references',            Hk->new(s => 'x' x 300, refs => [ map { [$_] } 1 .. 300 ]) ],
) {
    my ($name, $value) = @$case;
    for my $image (Storable::nfreeze($value), Storable::freeze($value)) {
        @calls = ();
        my $want = describe(Storable::thaw($image));
        my @want = @calls;
        @calls = ();
        my ($got, $error) = thaw($image);
        is(describe($got), $want, "$name: as thaw makes it") or diag($error);
        is_deeply(\@calls, \@want, "$name: the hooks get the same");
    }
}
{
    local $Storable::flags = 4;
    my $image = "\5\13\23\2\2Hk\1x";
    is(describe((thaw($image))[0]), describe(Storable::thaw($image)),
        'where objects are not made, hooks are not called');
}
for my $case (
    [ 'an attached object of another class', Storable::nfreeze([ bless {}, 'At::Wrong' ]),
        qr/^STORABLE_attach did not return a At::Wrong object/ ],
    [ 'an attached object with references',  "\5\13\23\302\2\0\0\0\0\202\10At::Refs\1r\1\0\0\0\1",
        qr/^STORABLE_attach called with unexpected references/ ],
    [ 'a hook that dies',                    Storable::nfreeze([ bless {}, 'Dies' ]),      qr/^of d$/ ],
    [ 'an array in the place of a scalar',   "\5\13\2\0\0\0\1\23\0\11At::Array\1a",
        qr/^array, hash or code where a scalar must be/ ],
    [ 'a class without hooks',               "\5\13\23\0\13Plain::None\0",
        qr/^class Plain::None is not loaded/ ],
) {
    my ($name, $image, $like) = @$case;
    my ($value, $error) = thaw($image);
    is($value, undef, "$name is refused");
    like($error, $like, "$name: the text");
}

# ---- what fails leaves nothing -------------------------------------------------------------------------

sub made { my ($what) = @_; return Storable::nfreeze($what) }

{
    my $knot = bless { refs => [] }, 'Keeps';
    push @{ $knot->{refs} }, $knot, Watched->new(1);
    my $weak = [ Watched->new(1) ];
    Scalar::Util::weaken($weak->[1] = $weak->[0]);
    my $loop = [ Watched->new(1) ];
    push @$loop, $loop;
    tie my %tied, 'Tie::StdHash';
    $tied{a} = Watched->new(1);
    my $dies = bless {}, 'Dies';
    my %case = (
        'plain objects'      => [ map { Watched->new(1) } 1 .. 3 ],
        'an object in a cycle' => [$loop],
        'hooks that keep each other' => [$knot],
        'weak references'    => [$weak],
        'ties'               => [ \%tied ],
        'inside the hook'    => [ bless { refs => [ Watched->new(1) ] }, 'Dies' ],
    );
    for my $name (sort keys %case) {
        my $image = made([ @{ $case{$name} }, $dies ]);
        $destroyed = 0;
        my (undef, $error) = thaw($image);
        is($error, "of d\n", "$name: the exception comes through");
        my $expected = () = $image =~ /Watched/g;
        cmp_ok($destroyed, '>=', 1, "$name: objects are destroyed");
        SKIP: {
            my $before = rss_kb();
            skip 'memory is not known here', 1 if !$before || ($ENV{LD_PRELOAD} || '') =~ /asan/;
            thaw($image) for 1 .. 200;
            $before = rss_kb();
            thaw($image) for 1 .. 3000;
            cmp_ok(rss_kb() - $before, '<', 300, "$name: no memory is lost");
        }
    }
    my $image = made([ Watched->new(1), bless { refs => [ Watched->new(1), [] ] }, 'Keeps' ]);
    $destroyed = 0;
    { my ($value) = thaw($image); ok(ref $value, 'hooks that do not die'); }
    is($destroyed, 3, 'nothing is kept of what they made, either');
}

# ---- freezing that fails -------------------------------------------------------------------------

{
    package Dies::Read;
    use overload 'bool' => sub { die "of bool\n" };
    sub TIESCALAR { return bless [], $_[0] }
    sub FETCH { die "of FETCH\n" }

    package Freezes;
    our @ISA;
    sub STORABLE_freeze { my @returned = @{ $_[0] }; ref $returned[0] eq 'CODE' ? $returned[0]->() : @returned }
    sub STORABLE_thaw { }

    package Overloads::Missing;
    use overload '+' => 'is_missing';

    package Circular;
    use overload '""' => sub { 'text' };
    our @ISA;
}
{
    my $circular = bless [], 'Circular';
    eval { @Circular::ISA = ('Circular') };
    tie my $tied, 'Dies::Read';
    my %fails = (
        'a glob'             => [ \*STDOUT, qr/^Can't store GLOB items/ ],
        'a subroutine'       => [ sub { 1 }, qr/^Can't store CODE items/ ],
        'magic that dies'    => [ \substr($tied, 0, 1), qr/^of FETCH/ ],
        'a hook that dies'   => [ (bless [ sub { die "of a hook\n" } ], 'Freezes'), qr/^of a hook/ ],
        'a hook that returns no references' => [ (bless [ 'x', 'y' ], 'Freezes'), qr/is not a reference/ ],
        'a hook that has nothing to say, too late' =>
            [ [ (bless ['x'], 'Freezes'), (bless [], 'Freezes') ], qr/^Too late to ignore hooks/ ],
        'what overloads by nothing' => [ (bless [], 'Overloads::Missing'), qr/^Can't resolve method/ ],
        'a class that inherits from itself' => [ $circular, qr/^Recursive inheritance/ ],
        'an order of keys that dies' => [ [1], qr/^of bool/, bless [], 'Dies::Read' ],
        'a tied order of keys'       => [ [1], qr/^of FETCH/, \$tied ],
    );
    foreach my $name (sort keys %fails) {
        my ($value, $text, $canonical) = @{ $fails{$name} };
        local *Storable::canonical = ref $canonical eq 'SCALAR' ? $canonical : \$canonical;
        my $structure = [ map({ "item $_" } 1 .. 100), [ [ [$value] ] ] ];
        my $fail = sub { eval { Net::EasyTCP::_freeze($structure); 1 } for 1 .. $_[0] };
        $fail->(200);
        like($@, $text, "freezing $name fails");
        SKIP: {
            my $before = rss_kb();
            skip 'memory is not known here', 1 if !$before || ($ENV{LD_PRELOAD} || '') =~ /asan/;
            $fail->(6000);
            cmp_ok(rss_kb() - $before, '<', 600, "$name: no memory is lost");
        }
    }
    @Circular::ISA = ();
}

# ---- hooks that meddle with what is being read ---------------------------------------------------

{
    my %meddling = (
        'empties'    => sub {
            my $r = shift;
            @$r = () if ref $r eq 'ARRAY';
            %$r = () if ref $r eq 'HASH';
            $$r = undef if ref $r eq 'REF' || ref $r eq 'SCALAR';
        },
        'fills'      => sub {
            my $r = shift;
            push @$r, 1 .. 50 if ref $r eq 'ARRAY';
            @$r{ 1 .. 50 } = () if ref $r eq 'HASH';
            $$r = {} if ref $r eq 'SCALAR';
        },
        'locks'      => sub {
            my $r = shift;
            Internals::SvREADONLY(@$r, 1) if ref $r eq 'ARRAY';
            Hash::Util::lock_keys(%$r) if ref $r eq 'HASH';
            Internals::SvREADONLY($$r, 1) if ref $r eq 'SCALAR';
        },
        'ties'       => sub {
            my $r = shift;
            tie @$r, 'Tie::StdArray' if ref $r eq 'ARRAY';
            tie %$r, 'Tie::StdHash' if ref $r eq 'HASH';
            tie $$r, 'Tie::StdScalar' if ref $r eq 'SCALAR';
        },
        'blesses'    => sub { my $r = shift; bless $r, 'Watched' },
        'undefines'  => sub { my $r = shift; undef @$r if ref $r eq 'ARRAY'; undef %$r if ref $r eq 'HASH' },
        'keeps'      => sub { push @kept, shift },
    );
    my $hook = "\23\200\7Meddler\1m\1\0\0\0\0";
    my %around = (
        'an array'     => "\2\0\0\0\3\4$hook\5\5",
        'a hash'       => "\3\0\0\0\2\4$hook\0\0\0\1a\5\0\0\0\1b",
        'a reference'  => "\4$hook",
        'a restricted hash' => "\31\1\0\0\0\2\4$hook\0\0\0\0\1a\5\4\0\0\0\1b",
        'a tied hash'  => "\14\4\21\14Tie::StdHash\3\0\0\0\1\4$hook\0\0\0\1a",
        'a tied value' => "\25\4\21\14Tie::StdHash\3\0\0\0\1\4$hook\0\0\0\1a\12\1a",
        'a hook'       => "\23\102\4${hook}\0\2Hk\1x",
    );
    my @faults;
    for my $how (sort keys %meddling) {
        for my $what (sort keys %around) {
            $meddle = $meddling{$how};
            my ($value, $error) = thaw("\5\13$around{$what}");
            push @faults, "$how $what: $_" for ref $value ? faults_of($value) : length $error ? ()
                : 'nothing said';
            eval { describe($value) } if ref $value;
        }
    }
    is_deeply(\@faults, [], 'a hook may do what it likes to what is around it');
    # Undef again, but with the memory of a string, in which a reference would be taken for its address.
    # It shares that with nobody: memory that is shared is given back from perl 5.42 on.
    $meddle = sub { ${ $_[0] } = ''; ${ $_[0] } .= 'x' for 1 .. 50; ${ $_[0] } = undef };
    my ($value, $error) = thaw("\5\13$around{'a reference'}");
    is($value, undef, 'a reference does not take the place of a string');
    like($error, qr/^unusable value/, 'and there is a text');
    @kept = ();
}

# ---- modules and classes ----------------------------------------------------------------------------------

{
    my @loaded;
    local @INC = (sub { push @loaded, $_[1]; return }, @INC);
    my $hook     = "\5\13\23\0\15Absent::Class\0";
    my $overload = "\5\13\24\21\15Absent::Class\3\0\0\0\0";
    my ($value, $error) = thaw($hook);
    like($error, qr/^class Absent::Class is not loaded, and not named by allowclasses/,
        'a class that is not here makes no objects');
    ($value) = thaw($overload);
    is(ref $$value, 'Absent::Class', 'one that overloads operators is used without');
    is_deeply(\@loaded, [], 'no module is looked for');
    (undef, $error) = thaw($hook, 2, ['Absent::Class']);
    like($error, qr/^Can't locate Absent/, 'unless it was named');
    is_deeply($loaded[0], 'Absent/Class.pm', 'then it is');
}

# In a program that has loaded nothing else.
{
    my $program = q{
        use Net::EasyTCP;
        require Net::EasyTCP::Attach;    # as attach() does
        $SIG{__WARN__} = sub { };    # what is made of SelectSaver holds no handle to give back
        sub image { my $class = shift; return "\5\13\21" . chr(length $class) . "$class\2\0\0\0\0" }
        for my $class ('Free::Class', 'SelectSaver', 'IO::Socket', 'IO::Socket::INET', 'Net::EasyTCP',
            'Net::EasyTCP::Attach::Watch', '::SelectSaver', 'main::SelectSaver', 'main::main::SelectSaver',
            "main'SelectSaver") {
            my $value = eval { Net::EasyTCP::_thaw(image($class)) };
            my ($refused) = $@ =~ /^(class .* is not allowed)/;
            print ref $value ? "$class is made\n" : $refused ? "$refused\n" : "$class: $@\n";
        }
        print ref Net::EasyTCP::_thaw(image('SelectSaver'), 2, ['SelectSaver']), " is made\n";
    };
    local $ENV{PERL5LIB} = join ':', @INC;
    open my $out, '-|', $^X, '-e', $program or die $!;
    chomp(my @said = <$out>);
    close $out;
    is(shift @said, 'Free::Class is made', 'objects of any class arrive');
    is(pop @said, 'SelectSaver is made', 'and of those that the program has named');
    is(scalar @said, 9, 'but');
    is_deeply([ grep { !/^class .* is not allowed$/ } @said ], [],
        'none of those that only this module has loaded');
}

{
    package Broken;
    our %OVERLOAD_TEST;
    use overload '""' => 'there_is_none';
}
{
    my ($value, $error) = thaw("\5\13\24\21\6Broken\3\0\0\0\0");
    like($error, qr/^class Broken overloads by methods that it does not have/,
        'a class that overloads by missing methods');
}

# Names that no class has: a bounded number of symbol tables, then plain values.
{
    my $before = grep { /::\z/ } keys %main::;
    my $objects = 0;
    for my $round (0 .. 29) {
        my $image = "\5\13\2\0\0\0\144" . join '', map {
            my $name = "Made::Up$round" . "x$_";
            "\4\21" . chr(length $name) . "$name\3\0\0\0\1\10\201\0\0\0\1a";
        } 1 .. 100;
        my ($value) = thaw($image);
        $objects += grep { Scalar::Util::blessed($_) } @$value;
        is_deeply([ map { $_->{a} } @$value ], [ (1) x 100 ], 'objects of any class arrive')
            if $round % 10 == 9;
    }
    cmp_ok($objects, '>=', 900, 'up to a thousand classes that are not here get one');
    cmp_ok($objects, '<=', 1000, 'the others stay plain');
    my ($value) = thaw("\5\13\2\0\0\0\2\4\21\6Hk::No\2\0\0\0\0\4\21\2Hk\2\0\0\0\0");
    is_deeply([ map { ref } @$value ], [ 'ARRAY', 'Hk' ], 'those of the program are as ever');
}
{
    my $deep = join '::', ('a') x 17;
    my (undef, $error) = thaw("\5\13\21" . chr(length $deep) . "$deep\5");
    like($error, qr/^impossible class name/, '17 levels are too many');
}

# ---- regular expressions -------------------------------------------------------------------------

sub IsMine { $main::ran++; return "0041\t005A\n" }
sub InMine { $main::ran++; return "0041\t005A\n" }
our $ran = 0;

sub expression {
    my ($pattern, $modifiers) = @_;
    return "\5\13\21\6Regexp\40\0" . chr(length $pattern) . $pattern . chr(length $modifiers) . $modifiers;
}

SKIP: {
    skip 'expressions are not objects here', 1 if $] < 5.012;
    my @stderr;
    local $SIG{__WARN__} = sub { push @stderr, @_ };
    local $^W = 1;
    for my $pattern ('abc', '\p{L}', '\pL', '\p{IsAlpha}', '\P{Is_Alpha}', '\p{InGreek}', '\p{Script=Greek}',
        '\\\\p{IsMine}', '\c\p{IsMine}', '[[:alpha:]]', '\p{^IsDigit}') {
        my ($value, $error) = thaw(expression($pattern, 'i'));
        is(ref $value, 'Regexp', "$pattern arrives") or diag($error);
        is("$value", do { no warnings; '' . qr/$pattern/i }, "$pattern is the same") if ref $value;
    }
    for my $pattern ('\p{IsMine}', '\P{InMine}', '\p{main::IsMine}', '\p{ IsMine }', '[\p{^IsMine}]',
        '\p{IsNotYetMine}', '\p{InNowhere}', '(?[ \p{IsMine} ])', '\p{IsMine', '\c\\\\p{IsMine}',
        '[\c\\\\p{IsMine}]', '\p{Name=/SMILE/}', '\p{gc: |L|}', '\P{Block=\/greek\/}', '\p{na==SMILE=}') {
        my ($value, $error) = thaw(expression($pattern, ''));
        is($value, undef, "$pattern does not");
        like($error, qr/\S/, "$pattern: there is a text");
        eval { 'A' =~ $value } if ref $value;
    }
    for my $modifiers ('e', 'ee', '; die', "\n") {
        my ($value, $error) = thaw(expression('a', $modifiers));
        like($error, qr/^regexp flags invalid/, 'modifiers that are none');
    }
    thaw(expression($_, '')) for '[a-\d]', '[[:alpha:]-z]', 'a{1', '\q', '(?=a)*', 'x{';
    my $class = "\21\6Regexp\40\1";
    my ($value, $error) = thaw("\5\13\2\0\0\0\2" . ("\4$class\0\0\77\340" . 'a' x 16352 . "\0") x 2);
    is(ref $value, 'ARRAY', 'patterns of 32 KiB') or diag($error);
    ($value, $error) = thaw("\5\13\2\0\0\0\2" . ("\4$class\0\0\77\341" . 'a' x 16353 . "\0") x 2);
    like($error, qr/^Regular expressions too large/, 'longer ones are too long');
    ($value, $error) = thaw("\5\13\2\0\0\4\1" . "\4\21\6Regexp\40\0\0\0" x 1025);
    like($error, qr/^Regular expressions too large/, 'and 1025 are too many');
    ($value, $error) = thaw("\5\13$class\0\0\7\321" . '(' x 2001 . "\0");
    like($error, qr/^too many parentheses/, 'as are 2001 parentheses');
    is($ran, 0, 'no subroutine of the program ran');
    is_deeply(\@stderr, [], 'and no warning came out');
}

# ---- size ----------------------------------------------------------------------------------------

for my $case ([ 'undefined elements', "\2\0\1\0\0" . "\16" x 65536 ],
    [ 'behind a tie', "\2\0\1\0\1\4\14\4\21\14Tie::StdHash\3\0\0\0\0" . "\16" x 65536 ]) {
    my ($name, $image) = @$case;
    is(ref +(thaw("\5\13$image", 0, [], 5_000_000))[0], 'ARRAY', "$name: 64 bytes for each are allowed");
    my ($value, $error) = thaw("\5\13$image", 0, [], 4_000_000);
    like($error, qr/^Structure too large/, "$name: fewer are not");
}

# ---- signals and loops inside hooks --------------------------------------------------------------

sub busy { return bless { s => $_[0] }, 'Busy' }

# A signal whose handler runs now.
sub signal { kill 'USR1', $$; 1 for 1 .. 1000; return }

{
    my $server = spawn_server(donotencrypt => 1);
    my $client = Net::EasyTCP->new(mode => 'client', host => '127.0.0.1', port => $server->{port})
        or BAIL_OUT($@);
    my $thrown = bless [], 'Thrown';
    my $caught = '';
    local $SIG{USR1} = sub { die $thrown };
    $client->send(busy($_)) for 1 .. 3;

    $busy = \&signal;
    is(eval { $client->receive; 1 }, undef, 'an exception of a signal handler comes out of receive');
    is($@, $thrown, 'as it is');
    $thrown = "text\n";
    is(eval { $client->receive; 1 }, undef, 'so does a text');
    is($@, $thrown, 'as it is');
    $busy = undef;
    is($client->receive->{s}, 1, 'the message is still there afterwards');

    $busy = sub { eval { signal() }; $caught = $@ };
    $@ = 'before';
    is($client->receive->{s}, 2, 'an exception that the hook catches is its own affair');
    is($caught, $thrown, 'it gets it');
    is($@, '', '$@ is empty, as after every message that was compressed or encrypted');

    local $SIG{USR1} = sub { $caught = 'ran' };
    $busy = sub {
        signal();
        $caught .= ' in time';
        my $none = $client->receive(1);
        $caught .= defined $none ? ', overtaken' : ", $@";
    };
    $client->send('plain');
    is($client->receive->{s}, 3, 'a handler that returns changes nothing');
    like($caught, qr/^ran in time, Cannot receive while/,
        'it runs at once, and nothing is received meanwhile');
    is($client->receive, 'plain', 'the next message is the next');

    $client->send(busy(4));
    $busy = sub { eval { signal() }; die "of its own\n" };
    is($client->receive, undef, 'an exception of the hook itself');
    like($@, qr/^Error decoding received data: of its own/, 'is an error');
    is($client->socket, undef, 'that ends the connection');
    $busy = undef;
}

# Servers: while a hook runs, or after one that did not end, nothing later comes first.
for my $dies (0, 1) {
    my ($server, $port) = new_server(donotencrypt => 1);
    my (@seen, $interrupted);
    $server->setcallback(data => sub {
        my $data = $_[0]->data;
        push @seen, ref $data ? "object $data->{s}" : $data;
        return;
    });
    my $sock = raw_connect($port);
    raw_negotiate($sock, loop_of($server));
    my $image = sub { packet(7, Storable::nfreeze(busy(shift))) };
    local $SIG{USR1} = sub { die "signal\n" };
    my $runs = 0;
    $busy = sub {
        return if $runs++;
        signal() if $dies;
        $server->do_one_loop for 1 .. 3;
    };
    syswrite $sock, join '', $image->(1), packet(5, 'two'), $image->(3), packet(5, 'four'), packet(5, 'end');
    until (grep { $_ eq 'end' } @seen) {
        $interrupted .= $@ if !eval { $server->do_one_loop; 1 };
    }
    is_deeply(\@seen, [ 'object 1', 'two', 'object 3', 'four', 'end' ],
        'a server hands out in order, once each');
    is($interrupted, $dies ? "signal\n" : undef, 'an exception comes out of the loop once') if 1;
    is(scalar $server->clients, 1, 'and the client stays');
    $busy = undef;
}

done_testing();
